// Package stamp measures delay, loss and reordering with STAMP, the Simple
// Two-Way Active Measurement Protocol (RFC 8762), its session identifier and
// TLV extensions (RFC 8972 §3 and §4), in unauthenticated and authenticated
// mode; TWAMP Light senders are reflected too (RFC 8762 §4.6).
//
// Packets are codecs without I/O; Reflector and Session take packets and the
// time as arguments and decide. Serve and Measure are the shells with sockets.
// A Reflector or Session is used by one goroutine.
//
// One way needs clocks that agree; what is always true is the round trip, from
// which the reflector's own time (its send less its receive stamp) is taken off.
package stamp
