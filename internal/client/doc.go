// Package client speaks STOMP 1.0, 1.1 and 1.2 from the client's side: it is what
// `stompserver send` and `subscribe` use, and the tests of the server.
//
// A Conn may be used from any goroutine. Frames go out in the order of the calls. What the
// server sends is read by one goroutine that hands messages to their subscription and
// receipts to whoever waits for them; an ERROR ends the connection (STOMP 1.2, "ERROR"),
// and every call after it returns that ERROR.
package client
