// Package clients has no code of its own: its tests let the client libraries that people
// use talk to the built server.
//
// There is a program for each library (python/, ruby/, perl/, php/, node/, and gostomp_test.go),
// that makes the same checks with the library's own calls, in each version of STOMP that the
// library speaks:
//
//	connect                version, session, and the receipt of DISCONNECT
//	heart-beat             a silent connection lasts longer than either side waits for a beat
//	text                   bodies: UTF-8, empty, large, with and without content-length
//	headers                UTF-8 and all that the version's escapes can say
//	binary                 bodies of any bytes, NULs among them
//	receipts               of a hundred SENDs under way at once, SUBSCRIBE, UNSUBSCRIBE
//	order                  a thousand messages in one stream come as they were sent
//	ack client             the ack of the second covers the first, the third comes again
//	ack client-individual  the ack of the second covers it alone
//	nack                   the message comes again with redelivered:true
//	commit                 SENDs and an ACK take effect together, and not before
//	abort                  SENDs and an ACK take no effect, the message comes again
//	clean leave            DISCONNECT: what was not acknowledged goes to another consumer
//	unclean leave          the same with a killed socket or process and a transaction open
//	topic                  every subscriber has every message, in order
//	error                  the ERROR can be read before the end, and says what was wrong
//
// With STOMP_CHECKS=peers they make these instead:
//
//	ActiveMQ, Apollo, Artemis, RabbitMQ   what clients of these do, with the headers of each
//	topics                                patterns, groups; a durable subscription left, taken up, destroyed
//	replies                               a temporary queue, which others cannot read; what nobody would get
//	replay                                a topic that keeps is read again from a place on
//	figures                               events and figures, under ActiveMQ's names too
//
// What a library cannot do is left out in its program, and said there.
//
// A program prints the Test Anything Protocol, and each of its lines becomes a subtest. It is
// told by the environment where the broker is (STOMP_HOST, STOMP_PORT, STOMP_LOGIN,
// STOMP_PASSCODE, STOMP_VHOST), which version to speak (STOMP_VERSION) and what its queues
// begin with (STOMP_PREFIX), so that it can be run by hand on any broker:
//
//	STOMP_HOST=127.0.0.1 STOMP_PORT=61613 STOMP_VERSION=1.2 STOMP_PREFIX=/queue/try. perl perl/checks.pl
//
// The server is built by the test, or is the file that TEST_SERVER_BIN names. A library that
// is not installed is skipped by name; with TEST_REQUIRE_ALL=1 it is a failure.
package clients
