// Command gostomp runs the in-memory broker of the go-stomp library, as one of the brokers
// that bench-peers compares. It is a module of its own, so that the library is not among
// the dependencies of stompserver.
package main

import (
	"log"
	"os"

	"github.com/go-stomp/stomp/v3/server"
)

func main() {
	s := &server.Server{Addr: os.Args[1], HeartBeat: 0}
	log.Fatal(s.ListenAndServe())
}
