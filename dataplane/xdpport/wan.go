package xdpport

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"dssn/dataplane/packet"
	"dssn/dataplane/worker"
	"dssn/xdp"
)

// wan is the port towards peers: Ethernet frames with UDP under IPv6.
type wan struct {
	socket
	table         *atomic.Pointer[Neighbours]
	mtu           int
	checksumByNIC bool

	// The last answer: packets come in runs.
	seen   *Neighbours
	peer   netip.AddrPort
	header *Header
}

var _ worker.FrameOutside = (*wan)(nil)

// Receive implements worker.Frames.
func (w *wan) Receive(in []worker.Frame) int { return w.receive(in) }

// strip takes off all headers. The UDP checksum is not looked at: a message that
// was damaged is not genuine.
func (w *wan) strip(f *worker.Frame) bool {
	p := f.Bytes()
	if len(p) < headerLen || p[12] != 0x86 || p[13] != 0xdd {
		return false
	}
	ip := p[ethLen:]
	if ip[0]>>4 != 6 || ip[6] != packet.UDP {
		return false
	}
	udp := ip[ipLen:]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpLen || length != int(binary.BigEndian.Uint16(ip[4:])) || length > len(udp) {
		return false
	}
	src := netip.AddrFrom16([16]byte(ip[8:24]))
	if src.IsLinkLocalUnicast() || src.Is4In6() {
		return false // the ordinary port has them, with their zones
	}
	f.Peer = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp[0:]))
	f.Local = netip.AddrFrom16([16]byte(ip[24:40]))
	f.Begin += headerLen
	f.End = f.Begin + length - udpLen
	return true
}

// Headroom implements worker.Frames.
func (w *wan) Headroom() int { return metadata + headerLen }

// Address implements worker.FrameOutside.
func (w *wan) Address(f *worker.Frame) bool {
	if t := w.table.Load(); t != w.seen || f.Peer != w.peer {
		w.seen, w.peer = t, f.Peer
		w.header = t.Peers[f.Peer]
	}
	h := w.header
	// From another address than the route's the kernel must choose the link.
	if h == nil || f.Begin < w.Headroom() || f.End-f.Begin+ipLen+udpLen > w.mtu || f.Local.IsValid() && f.Local != h.local {
		return false
	}
	message := f.Bytes()
	f.Begin -= headerLen
	b := f.Bytes()
	length := h.put(b, len(message))
	const at = ethLen + ipLen + 6
	if w.checksumByNIC {
		binary.BigEndian.PutUint16(b[at:], packet.Fold(h.pseudo+length))
		return true
	}
	b[at], b[at+1] = 0, 0
	// The length is in the pseudo-header, and in the header.
	c := ^packet.Fold(packet.Sum(message, h.sum+2*length))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], c)
	return true
}

// Send implements worker.Frames.
func (w *wan) Send(out []*worker.Frame) int {
	return w.send(out)
}

func (w *wan) askChecksum(_ *worker.Frame, d *xdp.Desc) {
	w.umem.RequestChecksum(d, ethLen+ipLen, 6)
}
