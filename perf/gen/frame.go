package gen

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"

	"dssn"
	"dssn/xdp"
)

// Compiled is a stream ready to be sent.
type Compiled struct {
	Name string
	xdp.TrafficStream
	MeanBytes float64 // of a frame
	Asked     float64 // frames a second; 0: as fast as it goes
}

// Compile makes the frames of all streams, which leave from an interface with the
// address src. dst is where streams go that do not say; clock is the tag of this
// host's clock. count ends streams that have no count of their own.
func (f *File) Compile(src, dst net.HardwareAddr, clock uint16) ([]Compiled, error) {
	var out []Compiled
	heads := 0
	for i := range f.Streams {
		c, err := f.Streams[i].compile(uint8(i), src, dst, clock)
		if err != nil {
			return nil, err
		}
		if heads += len(c.Heads); heads > xdp.TrafficHeads {
			return nil, fmt.Errorf("the streams have more than %d different frames: use shorter ranges", xdp.TrafficHeads)
		}
		out = append(out, c)
	}
	return out, nil
}

// layout is what all frames of a stream have in common.
type layout struct {
	*Stream
	six, wireguard, tcp      bool
	l3, l4, payload, sign    int // offsets
	tail                     int // bytes that must follow the signature
	srcMAC, dstMAC           net.HardwareAddr
	src, dst                 []netip.Addr
	srcPort, dstPort         []uint16
	carrier                  netip.Addr
	id                       uint8
	clock                    uint16
	sizes                    []int
	hopLimit, class, vlanTag int
}

func (s *Stream) compile(id uint8, src, dst net.HardwareAddr, clock uint16) (c Compiled, err error) {
	l := &layout{Stream: s, id: id, clock: clock, srcMAC: src, dstMAC: dst}
	if err := l.read(); err != nil {
		return c, fmt.Errorf("stream %q: %w", s.Name, err)
	}
	mean := 0.0
	for _, n := range l.sizes {
		mean += float64(n) / float64(len(l.sizes))
	}
	c = Compiled{Name: s.Name, MeanBytes: mean}
	if c.Interval, err = s.interval(mean); err != nil {
		return c, fmt.Errorf("stream %q: %w", s.Name, err)
	}
	if c.Interval > 0 {
		c.Asked = 1e9 * 1024 / float64(c.Interval)
	}
	if s.Burst < 0 || s.Burst > 1<<20 {
		return c, fmt.Errorf("stream %q: a burst of %d frames: use 1 to %d", s.Name, s.Burst, 1<<20)
	}
	if s.Burst > 1 && c.Interval == 0 {
		return c, fmt.Errorf("stream %q: a burst needs a rate: give pps or bitrate", s.Name)
	}
	c.Burst = max(s.Burst, 1)
	if c.Count = s.Count; c.Count == 0 {
		c.Count = MaxNumber
	}
	if c.Count > MaxNumber {
		return c, fmt.Errorf("stream %q: a count of %d: use at most %d", s.Name, s.Count, uint64(MaxNumber))
	}
	n := len(l.sizes)
	for _, k := range []int{len(l.src), len(l.dst), len(l.srcPort), len(l.dstPort)} {
		n = n / gcd(n, k) * k
		if n > xdp.TrafficHeads {
			return c, fmt.Errorf("stream %q: its ranges and sizes make more than %d different frames: use shorter ranges, or lengths that divide each other", s.Name, xdp.TrafficHeads)
		}
	}
	for i := range n {
		c.Heads = append(c.Heads, l.head(i))
	}
	return c, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (l *layout) read() (err error) {
	s := l.Stream
	switch s.Protocol {
	case "", UDP:
	case TCPSYN:
		l.tcp = true
	case WireGuard:
		l.wireguard = true
	default:
		return fmt.Errorf("protocol %q is not known: use udp, tcp-syn or wireguard", s.Protocol)
	}
	for _, m := range []struct {
		name, text string
		to         *net.HardwareAddr
	}{{"src_mac", s.SrcMAC, &l.srcMAC}, {"dst_mac", s.DstMAC, &l.dstMAC}} {
		if m.text != "" {
			a, err := net.ParseMAC(m.text)
			if err != nil || len(a) != 6 {
				return fmt.Errorf("%s %q is not an Ethernet address", m.name, m.text)
			}
			*m.to = a
		}
		if len(*m.to) != 6 {
			return fmt.Errorf("%s is missing: write the Ethernet address of the next hop (`ip neigh` shows it), or give it with --dst-mac", m.name)
		}
	}
	if l.src, err = parseAddresses("src", s.Src); err != nil {
		return err
	}
	if l.dst, err = parseAddresses("dst", s.Dst); err != nil {
		return err
	}
	if l.six = l.src[0].Is6(); l.six != l.dst[0].Is6() {
		return fmt.Errorf("src %s and dst %s are of different families", s.Src, s.Dst)
	}
	destination := 9 // discard
	if l.wireguard {
		destination = 51820
	}
	if l.srcPort, err = parsePorts("src_port", s.SrcPort, 49152); err != nil {
		return err
	}
	if l.dstPort, err = parsePorts("dst_port", s.DstPort, destination); err != nil {
		return err
	}
	if s.Carrier != "" {
		c, err := dssn.ParseCarrier(s.Carrier)
		if err != nil {
			return err
		}
		if !l.six {
			return fmt.Errorf("a carrier is IPv6, and src and dst are not")
		}
		l.carrier = c.Addr()
	}
	switch {
	case s.HopLimit < 0 || s.HopLimit > 255:
		return fmt.Errorf("hop_limit %d is out of range: use 1 to 255", s.HopLimit)
	case s.Class < 0 || s.Class > 255:
		return fmt.Errorf("traffic_class %d is out of range: use 0 to 255", s.Class)
	case s.VLAN < 0 || s.VLAN > 4094:
		return fmt.Errorf("vlan %d is out of range: use 1 to 4094", s.VLAN)
	}
	if l.hopLimit = s.HopLimit; l.hopLimit == 0 {
		l.hopLimit = 64
	}
	l.l3 = 14
	if s.VLAN > 0 {
		l.l3 = 18
	}
	l.l4 = l.l3 + 20
	if l.six {
		l.l4 = l.l3 + 40
	}
	l.payload = l.l4 + 8
	switch {
	case l.tcp:
		l.payload = l.l4 + 20
	case l.wireguard:
		l.payload += wireguardHead
		l.tail = wireguardTag
	}
	least := l.payload + l.tail
	if !s.Unnumbered {
		l.sign = l.payload
		least += SignatureBytes
	}
	l.sizes, err = s.sizes(max(least, 60))
	return err
}

// head makes the i-th frame. All bytes behind it are zeros and change no checksum.
func (l *layout) head(i int) xdp.TrafficHead {
	h := xdp.TrafficHead{Len: l.sizes[i%len(l.sizes)], Sign: l.sign}
	b := h.Bytes[:]
	src, dst := l.src[i%len(l.src)], l.dst[i%len(l.dst)]
	copy(b, l.dstMAC)
	copy(b[6:], l.srcMAC)
	proto, next := uint16(typeIPv4), byte(protoUDP)
	if l.six {
		proto = typeIPv6
	}
	if l.tcp {
		next = protoTCP
	}
	if l.VLAN > 0 {
		binary.BigEndian.PutUint16(b[12:], typeVLAN)
		binary.BigEndian.PutUint16(b[14:], uint16(l.VLAN))
	}
	binary.BigEndian.PutUint16(b[l.l3-2:], proto)
	ip, l4 := b[l.l3:], b[l.l4:]
	length := h.Len - l.l4
	if l.six {
		binary.BigEndian.PutUint32(ip, 6<<28|uint32(l.Class)<<20)
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		ip[6], ip[7] = next, byte(l.hopLimit)
		onWire := dst
		if l.carrier.IsValid() {
			onWire = l.carrier
		}
		s, d := src.As16(), onWire.As16()
		copy(ip[8:], s[:])
		copy(ip[24:], d[:])
	} else {
		ip[0], ip[1] = 0x45, byte(l.Class)
		binary.BigEndian.PutUint16(ip[2:], uint16(h.Len-l.l3))
		ip[6] = 0x40 // not to be fragmented
		ip[8], ip[9] = byte(l.hopLimit), next
		s, d := src.As4(), dst.As4()
		copy(ip[12:], s[:])
		copy(ip[16:], d[:])
		binary.BigEndian.PutUint16(ip[10:], ^fold(words(ip[:20])))
	}
	binary.BigEndian.PutUint16(l4, l.srcPort[i%len(l.srcPort)])
	binary.BigEndian.PutUint16(l4[2:], l.dstPort[i%len(l.dstPort)])
	if l.tcp {
		l4[12], l4[13] = 5<<4, 0x02 // SYN
		binary.BigEndian.PutUint16(l4[14:], math.MaxUint16)
		h.Check = l.l4 + 16
	} else {
		binary.BigEndian.PutUint16(l4[4:], uint16(length))
		h.Check = l.l4 + 6
	}
	if l.wireguard {
		l4[8] = wireguardData
		binary.LittleEndian.PutUint32(l4[12:], 0xd55)
	}
	if l.sign > 0 {
		Signature{Clock: l.clock, Stream: l.id}.Put(b[l.sign:])
	}
	// The pseudo-header holds the final destination (RFC 8200 §8.1).
	sum := words(src.AsSlice()) + words(dst.AsSlice()) + uint32(next) + uint32(length) + words(b[l.l4:])
	h.Sum = uint32(fold(sum))
	if l.sign == 0 {
		binary.BigEndian.PutUint16(b[h.Check:], checksum(h.Sum))
	}
	return h
}

// words adds up 16-bit words, of which there are few enough not to overflow.
func words(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

func fold(sum uint32) uint16 {
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	return uint16(sum)
}

// checksum is the one's complement of a sum; a zero is written as its other form,
// as UDP wants.
func checksum(sum uint32) uint16 {
	if c := ^fold(sum); c != 0 {
		return c
	}
	return 0xffff
}

// Sign writes number and time into a copy of h's bytes that begins b.
func Sign(b []byte, h *xdp.TrafficHead, number, time uint64) {
	if h.Sign == 0 {
		return
	}
	s := Signature{Clock: binary.BigEndian.Uint16(h.Bytes[h.Sign+2:]), Stream: h.Bytes[h.Sign+4], Number: number, Time: time}
	s.Put(b[h.Sign:])
	if h.Check > 0 {
		binary.BigEndian.PutUint16(b[h.Check:], checksum(h.Sum+s.words()))
	}
}
