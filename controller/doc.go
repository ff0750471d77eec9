// Package controller is the service platform: who is allowed, who gets what, who
// owes what. This package is the shell around package core: it owns the clock,
// the random numbers, the certificate authority and the sockets; it journals
// each input before the core takes it, and carries out what the core decides.
//
//	run.go      Run: from a state directory to two listeners
//	engine.go   one goroutine: journal, step, effects
//	ca.go       certificates of nodes
//	attach.go   one stream per node; only the newest assignment waits
//	service.go  what the northbound handler asks of it
//
// A node that has lost its controller goes on by its last assignment; nothing
// here is on the way of a packet.
package controller
