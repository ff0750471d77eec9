package gen

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"dssn"
	"dssn/xdp"

	"github.com/pelletier/go-toml/v2"
)

// Protocol is what a stream's frames are.
type Protocol string

// The protocols. WireGuard frames are data messages that nobody can decrypt.
const (
	UDP       Protocol = "udp"
	TCPSYN    Protocol = "tcp-syn"
	WireGuard Protocol = "wireguard"
)

// Stream describes one stream as the file does. Addresses and ports may be ranges,
// "10.0.0.1-10.0.0.9": each frame takes the next value of every range.
type Stream struct {
	Name       string   `toml:"name"`
	Protocol   Protocol `toml:"protocol"` // "" means udp
	SrcMAC     string   `toml:"src_mac"`  // "" means the interface's own
	DstMAC     string   `toml:"dst_mac"`
	VLAN       int      `toml:"vlan"` // 0: untagged
	Src        string   `toml:"src"`
	Dst        string   `toml:"dst"`
	SrcPort    any      `toml:"src_port"` // a number or a range; nil means 49152
	DstPort    any      `toml:"dst_port"` // nil means 9, WireGuard 51820
	Carrier    string   `toml:"carrier"`  // NEXT-CSID: the frame goes there, its checksum is for dst
	HopLimit   int      `toml:"hop_limit"`
	Class      int      `toml:"traffic_class"`
	Size       any      `toml:"size"`    // bytes without check sequence: a number, a list taken in turn, or "imix"
	PPS        float64  `toml:"pps"`     // frames a second; 0 and no bitrate: as fast as it goes
	Bitrate    string   `toml:"bitrate"` // of the frames' bits, such as "200M"
	Burst      int      `toml:"burst"`   // frames back to back at a time
	Count      uint64   `toml:"count"`   // ends the stream; 0 does not
	Unnumbered bool     `toml:"unnumbered"`
}

// File is a stream file.
type File struct {
	Streams []Stream `toml:"stream"`
}

// maxFileBytes bounds a stream file.
const maxFileBytes = 1 << 20

// imix is the usual mix, 7 : 4 : 1 of small, middle and full frames (without check
// sequence), spread out.
var imix = []int{60, 590, 60, 590, 60, 1514, 60, 590, 60, 590, 60, 60}

// ParseFile reads a stream file. An error names the line, or the stream, and says
// what is allowed.
func ParseFile(text []byte) (*File, error) {
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("a stream file of %d bytes: use at most %d", len(text), maxFileBytes)
	}
	f := &File{}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(f)
	var strict *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case errors.As(err, &strict) && len(strict.Errors) > 0:
		e := strict.Errors[0]
		line, _ := e.Position()
		return nil, fmt.Errorf("line %d: %q is not a field of a stream file: streams are [[stream]] tables with name, protocol, src_mac, dst_mac, vlan, src, dst, src_port, dst_port, carrier, hop_limit, traffic_class, size, pps, bitrate, burst, count, unnumbered", line, strings.Join(e.Key(), "."))
	case errors.As(err, &syntax):
		line, _ := syntax.Position()
		return nil, fmt.Errorf("line %d: %s", line, strings.TrimPrefix(syntax.Error(), "toml: "))
	case err != nil:
		return nil, fmt.Errorf("read the stream file: %w", err)
	}
	if len(f.Streams) == 0 || len(f.Streams) > xdp.TrafficStreams {
		return nil, fmt.Errorf("the file has %d streams: write 1 to %d [[stream]] tables", len(f.Streams), xdp.TrafficStreams)
	}
	names := map[string]bool{}
	for i := range f.Streams {
		s := &f.Streams[i]
		if s.Name == "" {
			s.Name = fmt.Sprintf("stream %d", i+1)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("two streams are called %q: give each a name of its own", s.Name)
		}
		names[s.Name] = true
		if _, err := s.compile(uint8(i), net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}, 0); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// parseRange reads "a" or "a-b" of addresses.
func parseAddresses(what, s string) ([]netip.Addr, error) {
	first, last, ranged := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return nil, fmt.Errorf("%s %q is not an address: write an IPv4 or IPv6 address or a range such as 192.0.2.1-192.0.2.9", what, s)
	}
	if !ranged {
		return []netip.Addr{a}, nil
	}
	b, err := netip.ParseAddr(strings.TrimSpace(last))
	if err != nil || b.BitLen() != a.BitLen() || b.Zone() != "" || b.Less(a) {
		return nil, fmt.Errorf("%s %q is not a range: its end must be an address of the same family, not before its beginning", what, s)
	}
	var out []netip.Addr
	for {
		out = append(out, a)
		if a == b {
			return out, nil
		}
		if len(out) >= xdp.TrafficHeads {
			return nil, fmt.Errorf("%s %q has more than %d addresses: use a shorter range", what, s, xdp.TrafficHeads)
		}
		a = a.Next()
	}
}

// parsePorts reads a port or "a-b".
func parsePorts(what string, v any, otherwise int) ([]uint16, error) {
	bad := fmt.Errorf("%s %v is not a port: write 1 to 65535 or a range such as \"1024-2047\"", what, v)
	var first, last int
	switch v := v.(type) {
	case nil:
		first, last = otherwise, otherwise
	case int64:
		if v < 1 || v > 65535 {
			return nil, bad
		}
		first, last = int(v), int(v)
	case string:
		a, b, ranged := strings.Cut(v, "-")
		if !ranged {
			b = a
		}
		var err1, err2 error
		first, err1 = strconv.Atoi(strings.TrimSpace(a))
		last, err2 = strconv.Atoi(strings.TrimSpace(b))
		if err1 != nil || err2 != nil || first > last {
			return nil, bad
		}
	default:
		return nil, bad
	}
	if first < 1 || last > 65535 {
		return nil, bad
	}
	var out []uint16
	for p := first; p <= last; p++ {
		out = append(out, uint16(p))
	}
	return out, nil
}

// sizes reads the size field; least is the smallest frame that has room for
// everything.
func (s *Stream) sizes(least int) (out []int, err error) {
	numbers := func(v []any) error {
		for _, x := range v {
			n, ok := x.(int64)
			if !ok {
				return fmt.Errorf("size %v is not a number of bytes", x)
			}
			out = append(out, int(n))
		}
		return nil
	}
	switch v := s.Size.(type) {
	case nil:
		return []int{least}, nil
	case int64:
		out = []int{int(v)}
	case []any:
		if err := numbers(v); err != nil {
			return nil, err
		}
	case string:
		if v != "imix" {
			return nil, fmt.Errorf("size %q is not known: write a number of bytes, a list of them, or \"imix\"", v)
		}
		for _, n := range imix {
			out = append(out, max(n, least))
		}
	default:
		return nil, fmt.Errorf("size %v is not known: write a number of bytes, a list of them, or \"imix\"", v)
	}
	if len(out) == 0 || len(out) > 1000 {
		return nil, fmt.Errorf("size lists %d frames: list 1 to 1000", len(out))
	}
	for _, n := range out {
		if n < least || n > maxFrame {
			return nil, fmt.Errorf("a frame of %d bytes: this stream takes %d (its headers%s) to %d", n, least, map[bool]string{true: "", false: ", number and time"}[s.Unnumbered], maxFrame)
		}
	}
	return out, nil
}

// maxFrame is the longest frame that both engines send in one piece.
const maxFrame = 1800

// interval is the time between frames of mean size bytes in 1/1024 ns.
func (s *Stream) interval(size float64) (uint64, error) {
	pps := s.PPS
	if s.Bitrate != "" {
		if pps != 0 {
			return 0, errors.New("pps and bitrate exclude each other: give one of them")
		}
		b, err := dssn.ParseBandwidth(s.Bitrate)
		if err != nil {
			return 0, fmt.Errorf("bitrate: %w", err)
		}
		if pps = float64(b) / (8 * size); pps == 0 {
			return 0, errors.New("bitrate is 0: leave it out to send as fast as it goes")
		}
	}
	if pps == 0 {
		return 0, nil
	}
	if !(pps >= 0.01 && pps <= 1e9) {
		return 0, fmt.Errorf("%g frames a second are out of range: use 0.01 to 10⁹, or leave pps out to send as fast as it goes", pps)
	}
	return max(uint64(1e9*1024/pps), 1), nil
}
