// Package liveness finds out what still works: which neighbour is at the other
// end of each link (hellos between neighbours), and which paths carry packets
// to a peer and back (probes between the two edges of a tunnel).
//
// Both are machines that own no clock, socket or goroutine: Neighbours and
// Paths take (now, input) and return what to send and what changed. HelloConn
// and ProbeConn are the sockets that a shell puts under them.
//
// What it is not: it routes nothing and repairs nothing. A machine is owned by
// one goroutine; a socket may be read and written from two.
package liveness
