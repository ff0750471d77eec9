// Package port moves the frames of a wire: the thin shell around dssn/perf/wire,
// on two AF_XDP sockets of two interfaces whose far ends are the wire's ends.
//
//	end A ── veth ── port 0 ┐             ┌ port 1 ── veth ── end B
//	                        └─ this loop ─┘
//
//	port.go  the loop: receive, decide, hold, send; one thread per wire
//	control.go  changing and asking it while it runs
//	slab.go  memory for the frames on their way
//	clock.go when to sleep and when to spin
//
// Choices, measured in perf/wire/DESIGN.md: AF_XDP in copy mode moves 0.8 million
// frames per second from one port to another, three times what AF_PACKET does,
// so that a wire has its 500,000 with time to spare. The price is that every
// frame passes by itself: ends must neither leave segmentation (TSO) nor
// checksums to the device, which the lab arranges. In return every segment meets
// its own chance, rate and delay, and checksums are real, so that corruption is
// found by those who check.
//
// Frames are copied aside while they are on their way: memory follows what is
// held, while frames kept in place would pin the worst case.
package port
