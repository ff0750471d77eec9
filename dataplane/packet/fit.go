package packet

import "encoding/binary"

// Longest returns the length of the longest segment in bytes.
func (c *Cut) Longest() int { return c.Len(0) }

// Fit changes the plan so that no segment is longer than mtu bytes, and reports
// whether it could: a large TCP packet is cut finer, and an IPv4 packet that
// allows it is cut into fragments (RFC 791, section 3.2). Anything else is its
// sender's to make smaller: see TooBig.
func (c *Cut) Fit(mtu int) bool {
	if c.Longest() <= mtu {
		return true
	}
	switch {
	case c.protocol == TCP && c.offload.GSO != GSONone:
		if mtu-c.head < 64 { // a path that narrow carries nothing anyway
			return false
		}
		c.size = mtu - c.head
		c.Segments = (len(c.packet) - c.head + c.size - 1) / c.size
		return true
	case c.offload.GSO == GSONone && !DontFragment(c.packet):
		return c.fragment(mtu)
	}
	return false
}

// fragment plans IPv4 fragments of at most mtu bytes.
func (c *Cut) fragment(mtu int) bool {
	p := c.packet
	head := int(p[0]&15) * 4
	size := (mtu - head) &^ 7
	if head < 20 || len(p) <= head || size < 8 {
		return false
	}
	if c.checksums { // of the whole, before it is cut
		at := c.start + int(c.offload.ChecksumOffset)
		putChecksum(p[at:], Sum(p[c.start:], 0), c.offload.ChecksumOffset == 6)
		c.checksums = false
	}
	c.fragments, c.head, c.size = true, head, size
	c.Segments = (len(p) - head + size - 1) / size
	return true
}

// writeFragment puts fragment i at the beginning of dst.
func (c *Cut) writeFragment(dst []byte, i int) {
	n := c.Len(i)
	dst = dst[:n]
	copy(dst, c.packet[:c.head])
	from := c.head + i*c.size
	copy(dst[c.head:], c.packet[from:from+n-c.head])
	const more = 0x2000
	// The packet may be a fragment itself.
	where := binary.BigEndian.Uint16(c.packet[6:])
	flags, offset := where&0xe000, where&0x1fff+uint16(i*c.size/8)
	if i != c.Segments-1 {
		flags |= more
	}
	binary.BigEndian.PutUint16(dst[2:], uint16(n))
	binary.BigEndian.PutUint16(dst[6:], flags|offset)
	dst[10], dst[11] = 0, 0
	binary.BigEndian.PutUint16(dst[10:], ^Fold(Sum(dst[:c.head], 0)))
}
