package packet

import (
	"bytes"
	"encoding/binary"
)

// Limits of what Join makes.
const (
	maxJoined = 65535 // bytes of an IP packet
	maxParts  = 128
)

// Join collects packets of one TCP or UDP flow that follow each other and
// makes one large packet of them without copying: Parts are the first packet,
// its header corrected, and the payloads of the rest, wherever they lie.
//
// A packet that arrived sealed was authenticated whole, so the checksum of one
// that is joined is not looked at: the large packet asks for its checksum to be
// completed. (The kernel's WireGuard treats inner checksums the same way.)
//
// The packets are borrowed until Reset. They must have passed Addresses and be
// cut to their own length.
type Join struct {
	Parts [][]byte

	total    int // bytes of the packet so far
	size     int // payload of the first packet
	ip       int // IP header
	head     int // IP and transport header
	protocol byte
	next     uint32 // sequence number that would follow
	closed   bool   // nothing may follow
}

// Reset empties the join.
func (j *Join) Reset() {
	clear(j.Parts)
	*j = Join{Parts: j.Parts[:0]}
}

// Empty reports whether no packet has been added.
func (j *Join) Empty() bool { return len(j.Parts) == 0 }

// Add takes p into the join and reports true, or leaves it out and reports
// false: then the join is to be sent and reset first. An empty join takes any
// packet.
func (j *Join) Add(p []byte) bool {
	if len(j.Parts) == 0 {
		j.begin(p)
		return true
	}
	if j.closed || len(j.Parts) == maxParts || len(p) <= j.head || len(p)-j.head > j.size || j.total+len(p)-j.head > maxJoined {
		return false
	}
	first := j.Parts[0]
	if !sameIP(first[:j.ip], p[:j.ip]) {
		return false
	}
	a, b := first[j.ip:j.head], p[j.ip:j.head]
	push := false
	if j.protocol == TCP {
		const pushFlag = 0x08
		if binary.BigEndian.Uint32(b[4:]) != j.next ||
			!bytes.Equal(a[0:4], b[0:4]) || // ports
			!bytes.Equal(a[8:13], b[8:13]) || // acknowledgement, header length
			a[13] != b[13]&^pushFlag || // flags
			!bytes.Equal(a[14:16], b[14:16]) || // window
			!bytes.Equal(a[20:], b[20:]) { // options
			return false
		}
		push = b[13]&pushFlag != 0
		if push {
			a[13] |= pushFlag
		}
	} else if !bytes.Equal(a[0:4], b[0:4]) || b[6]|b[7] == 0 {
		return false
	}
	payload := p[j.head:]
	j.Parts = append(j.Parts, payload)
	j.total += len(payload)
	j.next += uint32(len(payload))
	j.closed = push || len(payload) < j.size
	return true
}

// begin makes p the first packet; closed if nothing can be joined to it.
func (j *Join) begin(p []byte) {
	j.Parts = append(j.Parts, p)
	j.total, j.closed = len(p), true
	switch p[0] >> 4 {
	case 6:
		j.ip, j.protocol = 40, p[6]
	case 4:
		if p[0] != 0x45 || p[6]&0x3f != 0 || p[7] != 0 { // options, or a fragment
			return
		}
		j.ip, j.protocol = 20, p[9]
	}
	switch j.protocol {
	case TCP:
		const ackOnly = 0x10
		if len(p) < j.ip+20 {
			return
		}
		j.head = j.ip + int(p[j.ip+12]>>4)*4
		if j.head < j.ip+20 || j.head >= len(p) || p[j.ip+13] != ackOnly {
			return
		}
		j.next = binary.BigEndian.Uint32(p[j.ip+4:]) + uint32(len(p)-j.head)
	case UDP:
		j.head = j.ip + 8
		if j.head >= len(p) || p[j.ip+6]|p[j.ip+7] == 0 || int(binary.BigEndian.Uint16(p[j.ip+4:])) != len(p)-j.ip {
			return
		}
	default:
		return
	}
	j.size = len(p) - j.head
	j.closed = false
}

// sameIP compares IP headers but for lengths, identification and checksum.
func sameIP(a, b []byte) bool {
	if len(a) == 40 {
		return bytes.Equal(a[0:4], b[0:4]) && bytes.Equal(a[6:40], b[6:40])
	}
	return bytes.Equal(a[0:2], b[0:2]) && bytes.Equal(a[6:10], b[6:10]) && bytes.Equal(a[12:20], b[12:20])
}

// Finish corrects the header of the first part and returns what the port that
// gets the Parts has to do. Nothing may be added afterwards.
func (j *Join) Finish() (o Offload) {
	j.closed = true
	if len(j.Parts) <= 1 {
		return o
	}
	p := j.Parts[0]
	o = Offload{NeedsChecksum: true, HeaderLen: uint16(j.head), SegmentSize: uint16(j.size), ChecksumStart: uint16(j.ip)}
	length := j.total - j.ip
	var pseudo uint64
	if j.ip == 40 {
		binary.BigEndian.PutUint16(p[4:], uint16(j.total-40))
		pseudo = PseudoSum(p[8:24], p[24:40], j.protocol, length)
		o.GSO = GSOTCP6
	} else {
		binary.BigEndian.PutUint16(p[2:], uint16(j.total))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p[:20], 0)))
		pseudo = PseudoSum(p[12:16], p[16:20], j.protocol, length)
		o.GSO = GSOTCP4
	}
	t := p[j.ip:]
	if j.protocol == TCP {
		o.ChecksumOffset = 16
		binary.BigEndian.PutUint16(t[16:], Fold(pseudo))
	} else {
		o.GSO, o.ChecksumOffset = GSOUDP, 6
		binary.BigEndian.PutUint16(t[4:], uint16(length))
		binary.BigEndian.PutUint16(t[6:], Fold(pseudo))
	}
	return o
}
