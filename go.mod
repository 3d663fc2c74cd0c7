module stompserver

go 1.26
