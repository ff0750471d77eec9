// Package wire is an own emulator of links: what a line of a given rate, length
// and quality does to the frames that are sent into it. It is a core without
// I/O: frames are lengths, time is an argument, and chance is a function of a
// seed, so that the same seed gives the same drops.
//
//	settings.go  what can be asked for
//	words.go     the same as text: "rate=1G delay=10ms loss=0.1%"
//	draw.go      chance: a pure function of seed, direction, frame index and purpose
//	line.go      one direction: (now, frame) → when it comes out, or why it does not
//	held.go      the frames on their way, in the order in which they come out
//	counters.go  in + duplicated = out + dropped, by reason, + held
//
// The way of a frame through a Line:
//
//	             too long?   queue full?     lost, by chance        reordered: later
//	                 |           |           or in a burst?         duplicated: twice
//	now, length → [ MTU ] → [ queue ] → [ rate: serialised ] → [ loss ] → [ delay + jitter ] → out
//	                                                                        corrupted: one bit
//
// A frame that is lost on the line has used the line: loss is behind the rate.
//
// A Line belongs to one goroutine. The shell that moves real frames is the
// package dssn/perf/wire/port; what makes wires part of a network of namespaces
// is perf/lab.
package wire
