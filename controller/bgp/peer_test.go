package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dssn/controller/northbound"
)

// peer is a neighbour made of bytes (RFC 4271 §4, RFC 4760 §3), so that what it
// says is what the test wrote. It listens at [::1] and may be called again.
type peer struct {
	*testing.T
	as uint32
	l  net.Listener
}

func newPeer(t *testing.T, as uint32) *peer {
	t.Helper()
	if os.Geteuid() == 0 { // in a namespace of its own, where it is down
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &peer{t, as, l}
}

// config is that of a domain whose only neighbour is the peer.
func (p *peer) config(allow string) string {
	port := netip.MustParseAddrPort(p.l.Addr().String()).Port()
	return fmt.Sprintf(`{"format":"dssn-bgp/1","as":64512,"hold_seconds":9,"neighbours":[{"name":"peer","address":"::1","port":%d,"as":%d,"allow":[%s],"max_prefixes":100000}]}`, port, p.as, allow)
}

const (
	msgOpen      = 1
	msgUpdate    = 2
	msgKeepalive = 4
)

func message(kind byte, body []byte) []byte {
	m := make([]byte, 16, 19+len(body))
	for i := range m {
		m[i] = 0xff
	}
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, kind), body...)
}

func receive(c net.Conn) (kind byte, body []byte, err error) {
	head := make([]byte, 19)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(binary.BigEndian.Uint16(head[16:]))-19)
	_, err = io.ReadFull(c, body)
	return head[18], body, err
}

// accept takes the next session up to being established.
func (p *peer) accept() (net.Conn, error) {
	c, err := p.l.Accept()
	if err != nil {
		return nil, err
	}
	capabilities := []byte{
		1, 4, 0, 2, 0, 1, // IPv6 unicast
		65, 4, byte(p.as >> 24), byte(p.as >> 16), byte(p.as >> 8), byte(p.as), // four octets for an AS
	}
	open := []byte{4, byte(p.as >> 8), byte(p.as), 0, 9, 10, 0, 0, 9, byte(2 + len(capabilities)), 2, byte(len(capabilities))}
	kind, _, err := receive(c)
	if err == nil && kind != msgOpen {
		err = fmt.Errorf("the first message was of kind %d", kind)
	}
	if err == nil {
		_, err = c.Write(append(message(msgOpen, append(open, capabilities...)), message(msgKeepalive, nil)...))
	}
	for err == nil && kind != msgKeepalive {
		kind, _, err = receive(c)
	}
	return c, err
}

// keep answers keepalives until the session ends, and hands on what was announced.
func keep(c net.Conn, updates chan<- []byte) error {
	for {
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		kind, body, err := receive(c)
		if err != nil {
			return err
		}
		switch kind {
		case msgKeepalive:
			if _, err := c.Write(message(msgKeepalive, nil)); err != nil {
				return err
			}
		case msgUpdate:
			if updates != nil {
				updates <- body
			}
		default:
			return fmt.Errorf("a message of kind %d: %x", kind, body)
		}
	}
}

// announcement is an UPDATE of one prefix.
func announcement(p netip.Prefix, path []uint32) []byte {
	attributes := []byte{0x40, 1, 1, 0} // ORIGIN: IGP
	var way []byte
	if len(path) > 0 {
		way = []byte{2, byte(len(path))} // one AS_SEQUENCE
		for _, as := range path {
			way = binary.BigEndian.AppendUint32(way, as)
		}
	}
	attributes = append(append(attributes, 0x40, 2, byte(len(way))), way...)
	n := (p.Bits() + 7) / 8
	reach := []byte{0, 2, 1, 16}
	reach = append(reach, net.ParseIP("fd00::2").To16()...)
	reach = append(append(reach, 0, byte(p.Bits())), p.Addr().AsSlice()[:n]...)
	attributes = append(append(attributes, 0x80, 14, byte(len(reach))), reach...)
	return message(msgUpdate, append([]byte{0, 0, byte(len(attributes) >> 8), byte(len(attributes))}, attributes...))
}

// TestTheSpeakerTakesWhatTheRuleTakes announces at random and compares what
// gobgp's policies let in with Refusal, the rule written plainly.
func TestTheSpeakerTakesWhatTheRuleTakes(t *testing.T) {
	p := newPeer(t, 64513)
	config := p.config(`"3fff:d56::/32","3fff:e00:7::/48","2001:db8::/40"`)
	c, err := Read([]byte(config), ours)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	want := map[netip.Prefix]string{}
	var text []byte
	for range 3000 {
		base := []string{"3fff:d56::", "3fff:d56::", "3fff:e00:7::", "2001:db8::", "3fff:d55::", "3fff:d57::", "2001:db8:100::"}[r.IntN(7)]
		b := netip.MustParseAddr(base).As16()
		for i := 4 + r.IntN(3); i < 8; i++ {
			b[i] = byte(r.IntN(9))
		}
		prefix, err := netip.AddrFrom16(b).Prefix([]int{24, 32, 40, 44, 47, 48, 48, 49, 56, 64}[r.IntN(10)])
		if err != nil {
			t.Fatal(err)
		}
		var path []uint32
		for range []int{0, 1, 1, 1, 2, 3, 33}[r.IntN(7)] {
			path = append(path, []uint32{64513, 64513, 64513, 64513, 64514, 64512}[r.IntN(6)])
		}
		if _, known := want[prefix]; known {
			continue // the last word would count
		}
		want[prefix] = c.Refusal(&c.Neighbours[0], prefix, path)
		text = append(text, announcement(prefix, path)...)
	}
	// One that is taken for certain comes last.
	last := must("3fff:d56:ffff::/48")
	want[last] = ""
	text = append(text, announcement(last, []uint32{64513})...)

	go func() {
		conn, err := p.accept()
		if err == nil {
			_, err = conn.Write(text)
		}
		if err == nil {
			err = keep(conn, nil)
		}
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	}()
	d := speak(t, config)
	s := d.until("the last announcement is taken", func(s northbound.BGP) bool { return learned(s, last.String()) != nil })
	taken := 0
	for prefix, why := range want {
		if (why == "") != (learned(s, prefix.String()) != nil) {
			t.Errorf("%s: the rule says %q, and taken is %v", prefix, why, why != "")
		}
		if why == "" {
			taken++
		}
	}
	if taken < 20 || taken > len(want)-20 {
		t.Errorf("%d of %d were taken: that compares little", taken, len(want))
	}
}

// hostile is an UPDATE on which gobgp 3.37.0 panics: a Prefix-SID attribute (type
// 40) whose SRv6 service TLV is cut off within itself. Found by random input.
const hostile = "0000000ec0280b060000270202170019d303"

// TestAHostileMessageEndsOnlyTheSpeaker: the process dies of a message and is
// started again; what it had learned stays meanwhile.
func TestAHostileMessageEndsOnlyTheSpeaker(t *testing.T) {
	p := newPeer(t, 64513)
	config := p.config(`"3fff:d56::/32"`)
	bad, err := hex.DecodeString(hostile)
	if err != nil {
		t.Fatal(err)
	}
	hit := make(chan struct{})
	updates := make(chan []byte, 100)
	go func() {
		first := true
		for {
			conn, err := p.accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			conn.Write(announcement(must("3fff:d56:1::/48"), []uint32{64513}))
			if first {
				first = false
				<-hit
				conn.Write(message(msgUpdate, bad))
			}
			keep(conn, updates)
			conn.Close()
		}
	}()
	d := speak(t, config)
	d.until("the route is learned", func(s northbound.BGP) bool { return learned(s, "3fff:d56:1::/48") != nil })
	close(hit)
	s := d.until("the speaker died", func(s northbound.BGP) bool { return s.Restarts == 1 })
	if !strings.HasPrefix(s.Fault, "panic: ") || learned(s, "3fff:d56:1::/48") == nil {
		t.Errorf("after the message the fault is %q, and what is learned %v", s.Fault, s.Routes)
	}
	d.until("it is established again", func(s northbound.BGP) bool {
		return established("peer")(s) && s.Restarts == 1 && learned(s, "3fff:d56:1::/48") != nil
	})
	for u := range updates {
		if strings.Contains(hex.EncodeToString(u), "303fff0d550001") { // /48 3fff:d55:1
			return
		}
	}
}
