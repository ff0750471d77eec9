package worker

import (
	"net/netip"

	"dssn/dataplane"
	"dssn/dataplane/packet"
)

// Inside is the port towards this node's programs: a TUN, an AF_XDP queue of
// the LAN, or memory. Only its worker calls it; no call waits.
type Inside interface {
	// Receive puts one packet at the beginning of buf, which has room for
	// MaxPacket bytes, and returns its length and what is left to do on it;
	// zero if there is none now. An error says that there will never be one
	// again.
	Receive(buf []byte) (n int, o packet.Offload, err error)
	// Send takes one packet, given in parts, and what is left to do on it. The
	// parts are borrowed until it returns. An error costs this packet only.
	Send(parts [][]byte, o packet.Offload) error
}

// Outside is the port towards peers: a UDP socket, an AF_XDP queue of the WAN,
// or memory. Only its worker calls it; no call waits.
type Outside interface {
	// Receive fills in from its beginning and returns how many it filled; zero
	// if there is nothing now.
	Receive(in []Datagrams) (int, error)
	// Send takes all of out or the first so many of them; the rest is lost.
	// The error says why. The buffers are borrowed until it returns.
	Send(out []Datagrams) (int, error)
}

// Datagrams are UDP datagrams of one peer, one after the other: each Segment
// bytes long, the last may be shorter.
type Datagrams struct {
	Buf     []byte // whole; Receive cuts it to what came
	Segment int
	Peer    netip.AddrPort // from or to
	// Local is our address that they came to or are to come from. Invalid
	// where it is not known, or left to routing.
	Local netip.Addr
	// Shared says that they came to or are to leave from the port that all workers
	// of an engine share, not the worker's own. Ports that know one only ignore it.
	Shared bool
	// Mark is for the outer headers of what is sent, as far as the port can write
	// it; Receive leaves it alone.
	Mark dataplane.Mark
}

// Count returns how many datagrams there are.
func (d *Datagrams) Count() int {
	if d.Segment <= 0 {
		return 0
	}
	return (len(d.Buf) + d.Segment - 1) / d.Segment
}

// Limits of a port.
const (
	MaxPacket    = 65535     // of an inside packet, bytes
	slotLen      = 1 << 16   // of one Datagrams that is received
	slots        = 4         // of them at a time
	maxSegments  = 64        // datagrams that one Datagrams may carry (kernel: UDP_MAX_SEGMENTS)
	maxDatagrams = 65000     // bytes that one Datagrams may carry
	outLen       = 320 << 10 // of the buffer that a batch is sealed in
	maxReads     = 64        // inside packets of a batch
)
