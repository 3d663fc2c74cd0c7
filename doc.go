// Package stompserver is a STOMP 1.0, 1.1 and 1.2 message broker that can be embedded.
//
// It is the successor of the Ruby stompserver: the same command line, configuration,
// password file and monitor, in one static binary. ARCHITECTURE.md draws the house.
package stompserver
