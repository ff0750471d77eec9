// Package trial runs measurements between two ends that trust each other: a
// tester that decides and a responder that does its part. A trial sends numbered,
// timed UDP datagrams at a rate from one end to the other and says what arrived.
// RFC 2544 and Y.1564 (perf/rfc2544, perf/y1564) are sequences of trials.
//
//	message.go    the control messages, between length and JSON
//	identity.go   who the ends are, and how each is convinced of the other
//	plane.go      datagrams out and in, at a rate, counted
//	session.go    one tester and one responder, trial after trial
//	responder.go  the responder's server
//	outcome.go    what a trial found, and whether the tester itself bent it
//
// The two ends:
//
//	tester                                         responder
//	  | == TLS 1.3, each with its Ed25519 key ======> |
//	  | -- hello: version, clock, UDP port, proof --> |
//	  | <- hello ------------------------------------ |
//	  | -- trial: who sends what, how fast ---------> |
//	  | <- ready ------------------------------------ |
//	  | ...... datagrams, either way ................ |
//	  | -- finish ------(tester sent)---------------> |
//	  | <- received, or sent ------------------------ |
//	  |             … more trials …                   |
//	  | -- sign: the whole result ------------------> |
//	  | <- signed ----------------------------------- |
//
// Sizes are of whole IP packets, and rates count their bits: that is what a
// reservation's policer counts. A Session is used by one goroutine.
package trial
