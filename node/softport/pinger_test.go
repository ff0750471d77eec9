package softport

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"dssn/dataplane/worker"
)

// pinger measures round trips through a tunnel with UDP datagrams.
type pinger struct {
	here, there net.PacketConn
	to          net.IP
	n           uint64
}

func (e *ends) newPinger(t testing.TB) *pinger {
	t.Helper()
	p := &pinger{to: net.ParseIP(e.far)}
	if err := e.a.Do(func() (err error) { p.here, err = net.ListenPacket("udp", ":0"); return }); err != nil {
		t.Fatal(err)
	}
	if err := e.b.Do(func() (err error) { p.there, err = net.ListenPacket("udp", ":7"); return }); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := p.there.ReadFrom(b)
			if err != nil {
				return
			}
			p.there.WriteTo(b[:n], from)
		}
	}()
	return p
}

func (p *pinger) once(limit time.Duration) (time.Duration, bool) {
	p.n++
	var b [100]byte
	binary.LittleEndian.PutUint64(b[:], p.n)
	began := time.Now()
	p.here.WriteTo(b[:56], &net.UDPAddr{IP: p.to, Port: 7})
	p.here.SetReadDeadline(began.Add(limit))
	for {
		n, _, err := p.here.ReadFrom(b[:])
		if err != nil {
			return 0, false
		}
		if n >= 8 && binary.LittleEndian.Uint64(b[:]) == p.n {
			return time.Since(began), true
		}
	}
}

func (p *pinger) close() {
	p.here.Close()
	p.there.Close()
}

// outDatagrams makes one send of equal datagrams of 148 bytes.
func outDatagrams(buf []byte, to netip.AddrPort) []worker.Datagrams {
	return []worker.Datagrams{{Buf: buf, Segment: 148, Peer: to}}
}
