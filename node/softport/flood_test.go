package softport

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"dssn/dataplane"
	"dssn/internal/need"
	"dssn/node/tunnel"
)

// BenchmarkFlood sends forged initiations at 250,000 a second, with a wrong
// and with a right first MAC, and lets newcomers connect meanwhile: how long
// do they wait, how many succeed within six seconds, what does the memory do?
// FLOOD_NEWCOMERS (8) sets how many; wireguard-go is asked the same.
func BenchmarkFlood(b *testing.B) {
	need.Root(b)
	newcomers := setting("FLOOD_NEWCOMERS", 8)
	for _, c := range []contender{{"dssn wg", ourselves(b, "chacha")}, {"wireguard-go", wireguardGo(b)}} {
		for _, goodMAC := range []bool{false, true} {
			e := connect(b, c.daemon, c.daemon)
			e.echo(b)
			before := e.memory(b)
			got, sent := e.flood(b, newcomers, goodMAC)
			slices.Sort(got)
			worst := "none"
			if len(got) > 0 {
				worst = got[len(got)-1].Round(time.Millisecond).String()
			}
			fmt.Fprintf(os.Stdout, "%s, forged with %s MAC1, %.0f/s: %d of %d newcomers within 6 s, slowest %s, memory +%d MB\n",
				c.name, map[bool]string{true: "right", false: "wrong"}[goodMAC], sent, len(got), newcomers, worst, (e.memory(b)-before)>>20)
			e.stop()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// memory is A's resident memory in bytes.
func (e *ends) memory(b *testing.B) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", e.cmdA.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize()
}

func (e *ends) flood(b *testing.B, newcomers int, goodMAC bool) (waits []time.Duration, perSecond float64) {
	out, err := e.a.Run("wg", "show", e.ifA, "public-key")
	if err != nil {
		b.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(out))
	victim := dataplane.Key(raw)
	keys := make([]*ecdh.PrivateKey, newcomers)
	for i := range keys {
		keys[i], _ = ecdh.X25519().GenerateKey(rand.Reader)
		e.a.Run("wg", "set", e.ifA, "peer", base64.StdEncoding.EncodeToString(keys[i].PublicKey().Bytes()))
	}

	stop := make(chan struct{})
	var flooder sync.WaitGroup
	flooder.Add(1)
	sent, began := 0, time.Now()
	e.b.Do(func() error {
		s, err := openSocket(0, 0)
		if err != nil {
			b.Error(err)
		}
		go func() {
			defer flooder.Done()
			defer s.close()
			sent = forge(s, victim, goodMAC, stop)
		}()
		return nil
	})
	time.Sleep(300 * time.Millisecond) // the flood is on
	for _, k := range keys {
		if d, ok := e.join(b, k, victim); ok {
			waits = append(waits, d)
		}
	}
	close(stop)
	flooder.Wait()
	return waits, float64(sent) / time.Since(began).Seconds()
}

// forge sends until stop is closed and returns how many it sent.
func forge(s *socket, victim dataplane.Key, goodMAC bool, stop chan struct{}) (sent int) {
	const many, burst = 64, 8
	var generator device.CookieGenerator
	generator.Init(device.NoisePublicKey(victim))
	buf := make([]byte, many*148)
	r := mrand.New(mrand.NewPCG(1, 1))
	for i := range many {
		m := buf[i*148:][:148]
		for j := range m {
			m[j] = byte(r.Uint32())
		}
		copy(m, []byte{1, 0, 0, 0})
		if goodMAC {
			generator.AddMacs(m)
		}
	}
	out := outDatagrams(buf, netip.MustParseAddrPort("[fd00::1]:51820"))
	began := time.Now()
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		if due := int(time.Since(began).Seconds() * 250000); sent < due {
			for range burst {
				if n, _ := s.Send(out); n == 1 {
					sent += many
				}
			}
		} else {
			time.Sleep(200 * time.Microsecond)
		}
	}
}

// join is a newcomer: a tunnel machine and a socket of its own.
func (e *ends) join(b *testing.B, k *ecdh.PrivateKey, victim dataplane.Key) (time.Duration, bool) {
	m, err := tunnel.New(dataplane.Key(k.Bytes()), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := m.Set(tunnel.Config{Key: victim, Lanes: []tunnel.Lane{{}}}, nil); err != nil {
		b.Fatal(err)
	}
	var c net.PacketConn
	if err := e.b.Do(func() (err error) { c, err = net.ListenPacket("udp6", ":0"); return }); err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[fd00::1]:51820"))
	began := time.Now()
	now := func() tunnel.Now {
		return tunnel.Now{Mono: time.Since(began) + time.Second, Wall: time.Now()}
	}
	effects := m.Want(now(), victim, 0, nil)
	buf := make([]byte, 2000)
	for time.Since(began) < 6*time.Second {
		for _, f := range effects {
			switch f.Kind {
			case tunnel.Send:
				c.WriteTo(f.Message, to)
			case tunnel.Install:
				return time.Since(began), true
			}
		}
		effects = effects[:0]
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, from, err := c.ReadFrom(buf); err == nil {
			effects, _ = m.Message(now(), 0, from.(*net.UDPAddr).AddrPort(), buf[:n], false, effects)
		}
		effects = m.Tick(now(), func(any) tunnel.Activity { return tunnel.Activity{} }, effects)
	}
	return 0, false
}
