package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// slowSum is RFC 1071 as its text says it: sixteen bits at a time.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func TestSumAgreesWithItsSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		b := make([]byte, r.IntN(3000))
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				b[i] = 0xff
			}
		}
		cut := r.IntN(len(b)+1) &^ 1
		got, want := Fold(Sum(b[cut:], Sum(b[:cut], 0))), slowSum(b)
		if got%0xffff != want%0xffff { // 0 and 0xffff are the same sum
			t.Fatalf("%d bytes cut at %d: got %#x, want %#x", len(b), cut, got, want)
		}
	}
}

// build makes a packet whose checksum is right.
func build(v6 bool, protocol byte, seq uint32, payload []byte, flags byte) []byte {
	ip, head := 20, 8
	if v6 {
		ip = 40
	}
	if protocol == TCP {
		head = 32
	}
	p := make([]byte, ip+head+len(payload))
	copy(p[ip+head:], payload)
	t := p[ip:]
	binary.BigEndian.PutUint16(t[0:], 1111)
	binary.BigEndian.PutUint16(t[2:], 2222)
	if protocol == TCP {
		binary.BigEndian.PutUint32(t[4:], seq)
		t[12], t[13] = 8<<4, flags
		copy(t[20:], []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8})
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	}
	var pseudo uint64
	if v6 {
		p[0], p[6], p[7] = 0x60, protocol, 64
		binary.BigEndian.PutUint16(p[4:], uint16(len(t)))
		p[8], p[24], p[39] = 0xfd, 0xfd, 9
		pseudo = PseudoSum(p[8:24], p[24:40], protocol, len(t))
	} else {
		p[0], p[6], p[8], p[9] = 0x45, 0x40, 64, protocol
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[12], p[16] = 10, 10
		binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p[:20], 0)))
		pseudo = PseudoSum(p[12:16], p[16:20], protocol, len(t))
	}
	at := 16
	if protocol == UDP {
		at = 6
	}
	putChecksum(t[at:], Sum(t, pseudo), protocol == UDP)
	return p
}

// valid checks a packet's lengths and checksums from scratch.
func valid(t *testing.T, p []byte) {
	t.Helper()
	_, _, n, ok := Addresses(p)
	if !ok || n != len(p) {
		t.Fatalf("a packet of %d bytes says it has %d (%v)", len(p), n, ok)
	}
	ip, protocol, src, dst := 20, p[9], p[12:16], p[16:20]
	if p[0]>>4 == 6 {
		ip, protocol, src, dst = 40, p[6], p[8:24], p[24:40]
	} else {
		if slowSum(p[:20]) != 0xffff {
			t.Fatal("the IPv4 header's checksum is wrong")
		}
	}
	var all []byte
	all = append(append(append(all, src...), dst...), 0, protocol, byte((len(p)-ip)>>8), byte(len(p)-ip))
	if got := slowSum(append(all, p[ip:]...)); got != 0xffff {
		t.Fatalf("the transport checksum is wrong: all sums to %#x", got)
	}
}

// Whatever is cut can be joined again, and each piece between is whole.
func TestCutAndJoinAreInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		v6, protocol := r.IntN(2) == 0, byte(TCP)
		if r.IntN(2) == 0 {
			protocol = UDP
		}
		size := 500 + r.IntN(1000)
		payload := make([]byte, size+1+r.IntN(40*size))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		if len(payload) > 65000 {
			payload = payload[:65000]
		}
		flags := byte(0x10)
		if r.IntN(2) == 0 {
			flags |= 0x08
		}
		big := build(v6, protocol, r.Uint32(), payload, flags)
		o := Offload{NeedsChecksum: true, SegmentSize: uint16(size), ChecksumStart: 20, ChecksumOffset: 16, GSO: GSOTCP4}
		if v6 {
			o.ChecksumStart, o.GSO = 40, GSOTCP6
		}
		if protocol == UDP {
			o.ChecksumOffset, o.GSO = 6, GSOUDP
		}
		var c Cut
		if !c.Plan(big, o) {
			t.Fatalf("cannot cut %d bytes by %+v", len(big), o)
		}
		var j Join
		for i := range c.Segments {
			piece := make([]byte, c.Len(i))
			c.Write(piece, i)
			valid(t, piece)
			if !j.Add(piece) {
				t.Fatalf("piece %d of %d (%d bytes) cannot be joined", i, c.Segments, len(piece))
			}
		}
		got := j.Finish()
		joined := bytes.Join(j.Parts, nil)
		at := int(o.ChecksumStart + o.ChecksumOffset)
		copy(joined[at:at+2], big[at:at+2]) // partial after Join, whole from build
		if protocol == TCP && c.Segments > 1 && got.GSO != o.GSO || got.SegmentSize != o.SegmentSize || !bytes.Equal(joined, big) {
			t.Fatalf("cut and joined: offload %+v, want %+v; equal %v", got, o, bytes.Equal(joined, big))
		}
		// What was joined can be cut once more with its partial checksum.
		parts := bytes.Join(j.Parts, nil)
		if !c.Plan(parts, got) {
			t.Fatal("what was joined cannot be cut")
		}
		for i := range c.Segments {
			piece := make([]byte, c.Len(i))
			c.Write(piece, i)
			valid(t, piece)
		}
	}
}

func TestAPartialChecksumIsCompleted(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, protocol := range []byte{TCP, UDP} {
			want := build(v6, protocol, 5, []byte("odd"), 0x18)
			p := bytes.Clone(want)
			o := Offload{NeedsChecksum: true, ChecksumStart: 20, ChecksumOffset: 16}
			src, dst := p[12:16], p[16:20]
			if v6 {
				o.ChecksumStart, src, dst = 40, p[8:24], p[24:40]
			}
			if protocol == UDP {
				o.ChecksumOffset = 6
			}
			binary.BigEndian.PutUint16(p[o.ChecksumStart+o.ChecksumOffset:], Fold(PseudoSum(src, dst, protocol, len(p)-int(o.ChecksumStart))))
			var c Cut
			if !c.Plan(p, o) {
				t.Fatal("refused")
			}
			got := make([]byte, c.Len(0))
			c.Write(got, 0)
			valid(t, got)
		}
	}
}

func TestJoinLeavesOutWhatIsNotTheSameFlowInOrder(t *testing.T) {
	pay := bytes.Repeat([]byte{7}, 100)
	first := build(true, TCP, 1000, pay, 0x10)
	for name, change := range map[string]func(p []byte){
		"a gap":             func(p []byte) { p[40+7]++ },
		"another port":      func(p []byte) { p[41]++ },
		"another source":    func(p []byte) { p[20]++ },
		"another ack":       func(p []byte) { p[40+11]++ },
		"another window":    func(p []byte) { p[40+15]++ },
		"another timestamp": func(p []byte) { p[40+25]++ },
		"a FIN":             func(p []byte) { p[40+13] |= 1 },
		"a CWR":             func(p []byte) { p[40+13] |= 0x80 },
		"another class":     func(p []byte) { p[1] |= 0x30 },
	} {
		var j Join
		j.Add(bytes.Clone(first))
		p := build(true, TCP, 1100, pay, 0x10)
		change(p)
		if j.Add(p) {
			t.Errorf("%s was joined", name)
		}
	}
	var j Join
	j.Add(bytes.Clone(first))
	if !j.Add(build(true, TCP, 1100, pay[:50], 0x10)) || j.Add(build(true, TCP, 1150, pay, 0x10)) {
		t.Error("a short segment must be the last")
	}
}

func FuzzCut(f *testing.F) {
	f.Add(build(true, TCP, 1, make([]byte, 3000), 0x18), byte(4), uint16(1000), uint16(40), uint16(16))
	f.Add(build(false, UDP, 1, make([]byte, 3000), 0), byte(5), uint16(1000), uint16(20), uint16(6))
	f.Fuzz(func(t *testing.T, p []byte, gso byte, size, start, offset uint16) {
		if len(p) > 65535 || size < 8 {
			return
		}
		var c Cut
		if !c.Plan(p, Offload{NeedsChecksum: true, GSO: GSO(gso), SegmentSize: size, ChecksumStart: start, ChecksumOffset: offset}) {
			return
		}
		sum := 0
		for i := range c.Segments {
			b := make([]byte, c.Len(i))
			c.Write(b, i)
			sum += len(b) - c.head
		}
		if c.Segments > 1 && sum != len(p)-c.head {
			t.Fatalf("%d payload bytes became %d", len(p)-c.head, sum)
		}
	})
}

func FuzzJoin(f *testing.F) {
	f.Add(build(true, TCP, 1, make([]byte, 100), 0x10), build(true, TCP, 101, make([]byte, 100), 0x10))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var j Join
		total := 0
		for _, p := range [][]byte{a, b, b} {
			_, _, n, ok := Addresses(p)
			if !ok {
				return
			}
			if j.Add(bytes.Clone(p[:n])) {
				total += n
				if len(j.Parts) > 1 {
					total -= j.head
				}
			}
		}
		j.Finish()
		if got := len(bytes.Join(j.Parts, nil)); got != total {
			t.Fatalf("%d bytes went in, %d came out", total, got)
		}
	})
}

func TestNothingHereAllocates(t *testing.T) {
	big := build(true, TCP, 1, make([]byte, 40000), 0x10)
	o := Offload{NeedsChecksum: true, GSO: GSOTCP6, SegmentSize: 1368, ChecksumStart: 40, ChecksumOffset: 16}
	buf := make([]byte, 70000)
	var c Cut
	j := Join{Parts: make([][]byte, 0, maxParts)}
	if n := testing.AllocsPerRun(100, func() {
		c.Plan(big, o)
		at := 0
		j.Reset()
		for i := range c.Segments {
			n := c.Len(i)
			c.Write(buf[at:at+n], i)
			j.Add(buf[at : at+n])
			at += n
		}
		j.Finish()
	}); n != 0 {
		t.Errorf("cutting and joining allocated %v times", n)
	}
}

func BenchmarkSum1420(b *testing.B) {
	p := make([]byte, 1420)
	b.SetBytes(1420)
	for b.Loop() {
		Sum(p, 0)
	}
}
