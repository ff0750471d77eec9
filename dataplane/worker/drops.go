package worker

import (
	"sync/atomic"

	"dssn/dataplane"
)

// Verdict says what became of a packet. The zero verdict is a drop.
type Verdict uint8

// Every reason to drop a packet.
const (
	dropUnknown Verdict = iota
	dropMalformed
	dropNoPeer
	dropNoLane
	dropNoMeter
	dropPoliced
	dropTooBig
	dropNoSession
	dropNoEndpoint
	dropSend
	dropBadMessage
	dropBadIndex
	dropBadTag
	dropReplayed
	dropExpired
	dropBadInner
	dropBadSource
	dropDeliver
	dropControl
	verdicts
)

var verdictNames = [verdicts]string{
	dropUnknown:    "unknown",
	dropMalformed:  dataplane.DropMalformed,
	dropNoPeer:     dataplane.DropNoPeer,
	dropNoMeter:    dataplane.DropNoMeter,
	dropPoliced:    dataplane.DropPoliced,
	dropNoLane:     "no_lane",      // inside→tunnel: the peer's only lane is another worker's
	dropTooBig:     "too_big",      // inside→tunnel: larger than the path carries, and its sender was told
	dropNoSession:  "no_session",   // inside→tunnel: too many wait for a handshake, or it failed
	dropNoEndpoint: "no_endpoint",  // inside→tunnel: nobody knows where the peer is
	dropSend:       "send_failed",  // inside→tunnel: the outside port did not take it
	dropBadMessage: "bad_message",  // tunnel→inside: no WireGuard message
	dropBadIndex:   "bad_index",    // tunnel→inside: no such session
	dropBadTag:     "bad_tag",      // tunnel→inside: forged or damaged
	dropReplayed:   "replayed",     // tunnel→inside: seen before, or too old to tell
	dropExpired:    "expired",      // tunnel→inside: the session is too old
	dropBadInner:   "bad_inner",    // tunnel→inside: what was sealed is not a packet
	dropBadSource:  "bad_source",   // tunnel→inside: not a source this peer may use
	dropDeliver:    "inside_full",  // tunnel→inside: the inside port did not take it
	dropControl:    "control_full", // a handshake message that nobody had time for
}

// drops counts by verdict; only the worker adds.
type drops [verdicts]atomic.Uint64

func (d *drops) add(v Verdict, n int) { d[v].Add(uint64(n)) }

// Drops adds the worker's drops to m.
func (w *Worker) Drops(m map[string]uint64) {
	for v := range w.drops {
		if n := w.drops[v].Load(); n > 0 || v != int(dropUnknown) {
			m[verdictNames[v]] += n
		}
	}
}
