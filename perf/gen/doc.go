// Package gen makes test traffic and accounts for what arrives of it: streams of
// frames described by a small file, each frame with a number and a time.
//
//	file.go       the stream file: TOML, strict
//	frame.go      its frames: addresses, lengths, checksums
//	signature.go  number and time in a frame, written and found again
//	schedule.go   which stream may send, and when
//	tracker.go    what arrived: loss, order, duplicates, delay, variation
//	histogram.go  HDR histograms as plain arrays, the same as the kernel's part fills
//	run.go        sending and counting, by one of two engines
//	result.go     the outcome as a perf result
//
// The engine kernel is xdp's Traffic and TrafficSink: live frames and an XDP
// program, several million frames a second. The engine afxdp is two loops on
// AF_XDP sockets: for ports without live frames, and for low rates, as it sleeps
// between frames. Both use the frames, the schedule and the accounting of this
// package or their twins in C, which tests hold against each other.
//
// Schedule and Tracker are cores: time is their argument. A Tracker is owned by
// one goroutine.
package gen
