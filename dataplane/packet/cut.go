package packet

import "encoding/binary"

// Cut divides one packet as its Offload says. Use Plan, then Write each
// segment. It refers to the packet given to Plan until the next Plan.
type Cut struct {
	Segments int // how many there are, at least one

	packet    []byte
	offload   Offload
	head      int // IP and transport header together
	start     int // transport header
	size      int // payload of all segments but the last
	protocol  byte
	pseudo    uint64 // sum of the addresses and the protocol
	sequence  uint32 // of the first segment
	id        uint16 // of the first IPv4 segment
	checksums bool
	fragments bool // of IPv4, not segments of the transport
}

// Plan prepares p for Write. It reports false, and p must be dropped, if the
// offload contradicts the packet.
func (c *Cut) Plan(p []byte, o Offload) bool {
	*c = Cut{packet: p, offload: o, Segments: 1, head: len(p)}
	if o.GSO == GSONone {
		if !o.NeedsChecksum {
			return true
		}
		c.checksums = true
		c.start = int(o.ChecksumStart)
		return c.start+int(o.ChecksumOffset)+2 <= len(p)
	}
	c.start = int(o.ChecksumStart)
	if len(p) < 20 || o.SegmentSize == 0 {
		return false
	}
	v6 := p[0]>>4 == 6
	switch {
	case v6 && (c.start < 40 || o.GSO == GSOTCP4), !v6 && (p[0]>>4 != 4 || c.start < 20 || o.GSO == GSOTCP6):
		return false
	}
	switch o.GSO {
	case GSOTCP4, GSOTCP6:
		if c.start+20 > len(p) || o.ChecksumOffset != 16 {
			return false
		}
		c.protocol = TCP
		data := int(p[c.start+12]>>4) * 4
		if data < 20 {
			return false
		}
		c.head = c.start + data
		c.sequence = binary.BigEndian.Uint32(p[c.start+4:])
	case GSOUDP:
		if o.ChecksumOffset != 6 {
			return false
		}
		c.protocol = UDP
		c.head = c.start + 8
	default:
		return false
	}
	if c.head >= len(p) {
		return false
	}
	c.size = int(o.SegmentSize)
	c.Segments = (len(p) - c.head + c.size - 1) / c.size
	if v6 {
		c.pseudo = PseudoSum(p[8:24], p[24:40], c.protocol, 0)
	} else {
		c.pseudo = PseudoSum(p[12:16], p[16:20], c.protocol, 0)
		c.id = binary.BigEndian.Uint16(p[4:])
	}
	return true
}

// Len returns the length of segment i in bytes.
func (c *Cut) Len(i int) int {
	if c.Segments == 1 {
		return len(c.packet)
	}
	return c.head + min(c.size, len(c.packet)-c.head-i*c.size)
}

// Total returns the length of all segments together.
func (c *Cut) Total() (n int) {
	for i := range c.Segments {
		n += c.Len(i)
	}
	return n
}

// Write puts segment i, whole with its lengths, sequence number, flags and
// checksums, at the beginning of dst, which must have Len(i) bytes.
func (c *Cut) Write(dst []byte, i int) {
	if c.fragments {
		c.writeFragment(dst, i)
		return
	}
	if c.offload.GSO == GSONone {
		copy(dst, c.packet)
		if c.checksums {
			at := c.start + int(c.offload.ChecksumOffset)
			putChecksum(dst[at:], Sum(dst[c.start:len(c.packet)], 0), c.offload.ChecksumOffset == 6)
		}
		return
	}
	n := c.Len(i)
	dst = dst[:n]
	copy(dst, c.packet[:c.head])
	from := c.head + i*c.size
	copy(dst[c.head:], c.packet[from:from+n-c.head])

	if dst[0]>>4 == 6 {
		binary.BigEndian.PutUint16(dst[4:], uint16(n-40))
	} else {
		binary.BigEndian.PutUint16(dst[2:], uint16(n))
		binary.BigEndian.PutUint16(dst[4:], c.id+uint16(i))
		dst[10], dst[11] = 0, 0
		binary.BigEndian.PutUint16(dst[10:], ^Fold(Sum(dst[:c.start], 0)))
	}
	t := dst[c.start:]
	switch c.protocol {
	case TCP:
		const finAndPush, cwr = 0x09, 0x80
		binary.BigEndian.PutUint32(t[4:], c.sequence+uint32(i*c.size))
		if i != c.Segments-1 {
			t[13] &^= finAndPush
		}
		if i != 0 {
			t[13] &^= cwr
		}
		t[16], t[17] = 0, 0
		putChecksum(t[16:], Sum(t, c.length(len(t))), false)
	case UDP:
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
		t[6], t[7] = 0, 0
		putChecksum(t[6:], Sum(t, c.length(len(t))), true)
	}
}

// length adds the length of the transport message to the pseudo-header.
func (c *Cut) length(n int) uint64 {
	return c.pseudo + uint64(n&0xff)<<8 + uint64(n>>8&0xff) // as the machine sees two big-endian bytes
}

func putChecksum(field []byte, sum uint64, udp bool) {
	v := ^Fold(sum)
	if udp && v == 0 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(field, v)
}
