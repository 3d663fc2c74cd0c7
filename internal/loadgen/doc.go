// Package loadgen puts load on a message broker and measures what becomes of it.
//
// It speaks just enough STOMP, or core NATS, to be cheap: frames are built once and only
// the stamp in their body is patched, many go out with one write, and what comes in is
// scanned by its length, not decoded. On a machine of two cores the generator shares them
// with the broker, and each cycle it wastes is missing there.
//
// Every body begins with a stamp:
//
//	tag(4) stream(3) seq(7) time(9)    six bits a character, '0' to 'o'
//
// The tag names the run, so that what an earlier one left in a queue is told apart. A
// stream is one producer on one destination, seq counts its messages from 0, and time is
// when the message was sent or, in the open loop, when it was due: a generator that falls
// behind adds its delay to the latencies instead of hiding it (coordinated omission).
package loadgen
