package enginetest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/aead"
)

// RunNative runs what only engines with more than WireGuard can do, with ours at
// both ends.
func RunNative(t *testing.T, open Open) {
	t.Run("another key and another suite under traffic lose no packet", func(t *testing.T) {
		a, b := Two(t, open, open)
		rekeyUnderTraffic(t, a, b)
	})
}

// rekeyUnderTraffic changes what a session is agreed on under, at one end and then
// at the other, while packets flow.
func rekeyUnderTraffic(t *testing.T, a, b *End) {
	meter := dataplane.Meter{Reservation: 1, From: host(a.address), To: host(b.address), Rate: dssn.Gbps, Burst: dssn.MiB}
	publish := func(e, other *End, generation uint64, psk byte, suite aead.Suite) {
		next := e.tables(generation, other, meter)
		next.Peers[0].PresharedKey, next.Peers[0].Suite = dataplane.Key{psk}, suite
		if err := e.Publish(next); err != nil {
			t.Fatal(err)
		}
	}
	publish(a, b, 1, 1, 0)
	publish(b, a, 1, 1, 0)
	s := a.listen(t)
	sent := uint64(0)
	send := func(n int) {
		for range n {
			if _, err := s.WriteTo(make([]byte, 100), dst(b)); err != nil {
				t.Fatal(err)
			}
			if sent++; sent%10 == 0 {
				time.Sleep(time.Millisecond) // a packet's distance, not a wait for something
			}
		}
	}
	arrived := func() {
		t.Helper()
		eventually(t, fmt.Sprintf("%d packets arrived (%d have; drops there %v)", sent, b.count(1).ReceivedPackets, b.Drops()),
			func() bool { return b.count(1).ReceivedPackets == sent })
	}
	send(1)
	arrived()
	for i, x := range []struct {
		psk   byte
		suite aead.Suite
	}{{2, aead.ChaCha20Poly1305}, {2, aead.AES256GCM}, {3, aead.AES256GCM}, {3, aead.ChaCha20Poly1305}, {4, aead.AES256GCM}} {
		before := [2]time.Time{a.Peers(nil)[0].LastHandshake, b.Peers(nil)[0].LastHandshake}
		send(100)
		publish(a, b, uint64(i+2), x.psk, x.suite)
		send(100)
		publish(b, a, uint64(i+2), x.psk, x.suite)
		send(100)
		eventually(t, "both ends use a new session", func() bool {
			send(1)
			pa, pb := a.Peers(nil)[0], b.Peers(nil)[0]
			return pa.LastHandshake.After(before[0]) && pb.LastHandshake.After(before[1]) && pa.Suite == x.suite && pb.Suite == x.suite
		})
		send(100)
		arrived()
	}
}

// Native opens two engines of ours with everything published that lets them carry
// traffic without limit, sealed by suite.
func Native(t testing.TB, open Open, suite aead.Suite) (a, b *End) {
	t.Helper()
	a, b = Two(t, open, open)
	meters := []dataplane.Meter{
		{Reservation: 1, From: host(a.address), To: host(b.address), Rate: 400 * dssn.Gbps, Burst: 64 * dssn.MiB},
		{Reservation: 2, From: host(b.address), To: host(a.address), Rate: 400 * dssn.Gbps, Burst: 64 * dssn.MiB},
	}
	for _, p := range []struct{ e, other *End }{{a, b}, {b, a}} {
		next := p.e.tables(1, p.other, meters...)
		next.Peers[0].Suite = suite
		if err := p.e.Publish(next); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// Address is the end's inside address.
func (e *End) Address() netip.Addr { return e.address }
