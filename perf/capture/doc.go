// Package capture says in words what a frame is, and writes frames to pcapng
// files that carry those words as comments.
//
//	describe.go  a frame → one line: addresses, carrier, tunnel message
//	wireguard.go the headers of WireGuard's four messages
//	pcapng.go    the file format, as far as it is written here
//
// Packets are decoded with gopacket, whose own recovery from panics stays on:
// meant for frames of one's own lab, not for hostile ones at speed. Where frames
// come from is perf/lab's. All functions may be called from any goroutine; a
// Writer belongs to one.
package capture
