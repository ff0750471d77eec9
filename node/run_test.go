package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/kernel"
)

// stream sends numbered datagrams from one terminal's NodeID to the other's,
// through the tunnel, and counts what arrives.
type stream struct {
	received atomic.Int64
	last     atomic.Int64 // UnixNano of the latest arrival
	longest  atomic.Int64 // the longest silence between two
	paused   atomic.Bool
}

func startStream(t *testing.T, from, to *host) *stream {
	t.Helper()
	s := &stream{}
	var in, out *net.UDPConn
	err := to.space.Do(func() (err error) {
		in, err = net.ListenUDP("udp6", &net.UDPAddr{IP: to.id.Addr().AsSlice(), Port: 5000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = from.space.Do(func() (err error) {
		out, err = net.DialUDP("udp6", nil, &net.UDPAddr{IP: to.id.Addr().AsSlice(), Port: 5000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); out.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			if _, err := in.Read(b); err != nil {
				return
			}
			now := time.Now().UnixNano()
			if last := s.last.Swap(now); last != 0 && now-last > s.longest.Load() {
				s.longest.Store(now - last)
			}
			s.received.Add(1)
		}
	}()
	go func() {
		for i := 0; ; i++ {
			for s.paused.Load() {
				time.Sleep(2 * time.Millisecond)
			}
			if _, err := fmt.Fprintf(out, "%d", i); err != nil && strings.Contains(err.Error(), "closed") {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return s
}

// pause stops the sender for a while, or lets it go on.
func (s *stream) pause(yes bool) { s.paused.Store(yes) }

// flows waits until n more datagrams have arrived.
func (s *stream) flows(t *testing.T, n int64) {
	t.Helper()
	want := s.received.Load() + n
	eventually(t, fmt.Sprintf("%d datagrams", want), func() bool { return s.received.Load() >= want })
}

func TestNodesWithoutAControllerCarryAndRepair(t *testing.T) {
	began := time.Now()
	stage := func(what string) { t.Logf("%6.3f s: %s", time.Since(began).Seconds(), what) }
	w := newWorld(t)
	stage("the world is made")
	w.startAll()
	west, east := w.hosts["west"], w.hosts["east"]
	eventually(t, "the allocated path in use both ways", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	stage("both ways are found")
	s := startStream(t, west, east)
	eventually(t, "a session by every lane, with the suite of the assignment", func() bool {
		var st Status
		return west.get("/local/status", &st) == nil && len(st.Tunnels) == 1 && st.Tunnels[0].Open == testWorkers && st.Tunnels[0].Cipher == "AES-256-GCM"
	})
	// What the live tables say of a packet, without sending it.
	trace := func(h *host, src, dst netip.Addr) string {
		p := make([]byte, 60)
		p[0], p[5], p[6] = 0x60, 20, 59
		copy(p[8:], src.AsSlice())
		copy(p[24:], dst.AsSlice())
		body, _ := json.Marshal(TraceRequest{Packet: p})
		resp, err := h.http.Post("http://node/local/trace", "application/json", bytes.NewReader(body))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	if got := trace(west, west.id.Addr(), east.id.Addr()); !strings.Contains(got, "AES-256-GCM") || !strings.Contains(got, `"answer": "send"`) {
		t.Errorf("a packet to the other terminal: %s", got)
	}
	if got := trace(west, west.id.Addr(), netip.MustParseAddr("3fff:d55:9::9")); !strings.Contains(got, "drop: no_peer") {
		t.Errorf("a packet to nobody: %s", got)
	}
	if got := trace(w.hosts["north"], west.id.Addr(), east.id.Addr()); !strings.Contains(got, "ask at a terminal") {
		t.Errorf("asking a backbone node: %s", got)
	}
	s.flows(t, 200)
	stage("traffic flows")

	// A fibre is cut where no interface of an edge sees it, and where the hub
	// that does see it has a backup only for shortest paths, not for the carrier.
	s.longest.Store(0)
	cut := time.Now()
	w.hosts["north"].space.IP(t, "link set to-e down")
	s.flows(t, 200)
	stage("traffic flows after the cut")
	t.Logf("the longest silence around the cut was %v", time.Duration(s.longest.Load()))

	// Now nothing passes north any more.
	w.hosts["north"].space.IP(t, "link set to-w down")
	eventually(t, "traffic on the southern path", func() bool { return west.using(t) == "south" && east.using(t) == "south" })
	s.flows(t, 200)
	p := west.paths(t)
	last := p.Switches[len(p.Switches)-1]
	if last.At.Before(cut) || last.Hops[2] != "south" || last.SilentMillis <= 0 {
		t.Errorf("the latest switch is %+v, want one to the south after the cut", last)
	}
	t.Logf("switched %v after silence of %d ms (%s)", last.Hops, last.SilentMillis, last.Why)

	// The fibre is mended: traffic goes back after a while.
	w.hosts["north"].space.IP(t, "link set to-e up")
	w.hosts["north"].space.IP(t, "link set to-w up")
	eventually(t, "traffic back on the northern path", func() bool { return west.using(t) == "north" })
	s.flows(t, 100)
	stage("traffic is back")

	// Every packet was counted once, at both ends, under its reservation.
	var status Status
	eventually(t, "the counts at both ends", func() bool {
		var a, b Status
		if west.get("/local/status", &a) != nil || east.get("/local/status", &b) != nil {
			return false
		}
		status = a
		i := slices.IndexFunc(a.Usage, func(c southbound.Count) bool { return c.Reservation == 1 })
		j := slices.IndexFunc(b.Usage, func(c southbound.Count) bool { return c.Reservation == 1 })
		return i >= 0 && j >= 0 && a.Usage[i].SentPackets > 0 && b.Usage[j].ReceivedPackets > 0 && b.Usage[j].ReceivedPackets <= a.Usage[i].SentPackets
	})
	if status.Controller.Connected || status.Generation != 1 {
		t.Errorf("status says %+v, generation %d; want no controller and generation 1", status.Controller, status.Generation)
	}
}

// ours lists what carries our origin number in a host's namespace.
func (h *host) ours(t *testing.T) *kernel.Plan {
	t.Helper()
	var p *kernel.Plan
	err := h.space.Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		p, err = k.Present()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAKilledBackboneNodeGoesOnCarrying(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	west, east, hub := w.hosts["west"], w.hosts["east"], w.hosts["north"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	s := startStream(t, west, east)
	s.flows(t, 100)

	hub.stop(t, syscall.SIGKILL)
	s.flows(t, 300) // 600 ms: longer than any probe's patience
	if got := west.using(t); got != "north" {
		t.Errorf("after its program was killed the hub is no longer used: %q", got)
	}
	before := hub.ours(t)
	hub.start(t)
	eventually(t, "the restarted hub", func() bool { var st Status; return hub.get("/local/status", &st) == nil && st.Applied == 1 })
	s.flows(t, 300)
	if len(west.paths(t).Switches) != 1 {
		t.Errorf("traffic moved while the hub's program was killed and started again: %+v", west.paths(t).Switches)
	}
	after := hub.ours(t)
	if !slices.Equal(before.Routes, after.Routes) || len(after.Routes) == 0 {
		t.Errorf("routes before the restart %v, after it %v", before.Routes, after.Routes)
	}
}

func TestACleanExitLeavesNothing(t *testing.T) {
	w := newWorld(t)
	dump := func(h *host) string {
		var out []string
		for _, line := range []string{"-6 route show table all", "-6 addr show dev lo", "-o link show"} {
			text, err := h.space.Run("ip", strings.Fields(line)...)
			if err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(text) {
				// What the kernel does by itself for link-local addresses may
				// come a moment later.
				if !strings.Contains(l, "fe80") && !strings.Contains(l, "ff00") && !strings.Contains(l, "@") {
					out = append(out, l)
				}
			}
		}
		slices.Sort(out)
		return strings.Join(out, "")
	}
	before := map[string]string{}
	for name, h := range w.hosts {
		before[name] = dump(h)
	}
	w.startAll()
	eventually(t, "the allocated path", func() bool { return w.hosts["west"].using(t) == "north" })
	for _, name := range []string{"west", "w"} {
		h := w.hosts[name]
		if dump(h) == before[name] {
			t.Fatalf("%s changed nothing", name)
		}
		if err := h.stop(t, syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if got := dump(h); got != before[name] {
			t.Errorf("%s left something.\nbefore:\n%s\nafter:\n%s", name, before[name], got)
		}
	}
	// What a killed node left, Remove removes.
	h := w.hosts["e"]
	h.stop(t, syscall.SIGKILL)
	if dump(h) == before["e"] {
		t.Error("a killed backbone node left nothing to remove, so this test shows nothing")
	}
	if err := h.space.Do(func() error { return Remove(h.state) }); err != nil {
		t.Error(err)
	}
	if got := dump(h); got != before["e"] {
		t.Errorf("Remove left something.\nbefore:\n%s\nafter:\n%s", before["e"], got)
	}
}

func TestAnIdentifierNobodyGrantedIsUnreachable(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	west := w.hosts["west"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" })
	err := west.space.Do(func() error {
		c, err := net.DialTimeout("tcp6", netip.AddrPortFrom(netip.MustParseAddr("3fff:d55:1:2:2c21:1:2:3"), 80).String(), 5*time.Second)
		if err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "unreachable") && !strings.Contains(err.Error(), "no route") {
		t.Errorf("dialling an identifier without a grant: %v; want it refused at once by the host itself", err)
	}
}

func TestAKilledTerminalComesBackAndLosesNoCount(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	west, east := w.hosts["west"], w.hosts["east"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	s := startStream(t, west, east)
	for _, h := range []*host{west, east} {
		s.flows(t, 200)
		h.stop(t, syscall.SIGKILL)
		h.start(t)
	}
	s.flows(t, 200)
	// Both end cleanly; what each counted is in its books.
	count := func(h *host) (c southbound.Count) {
		if err := h.stop(t, syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", h.name, err)
		}
		var f usageFile
		text, err := os.ReadFile(filepath.Join(h.state, fileUsage))
		if err == nil {
			err = json.Unmarshal(text, &f)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Counts {
			if c.Reservation == 1 {
				return c
			}
		}
		return c
	}
	sent, received := count(west), count(east)
	if received.ReceivedPackets < uint64(s.received.Load()) || sent.SentPackets < received.ReceivedPackets {
		t.Errorf("sent %d, received %d by the books and %d by the program; want each at most the one before it",
			sent.SentPackets, received.ReceivedPackets, s.received.Load())
	}
	t.Logf("sent %d, received %d, of which the program saw %d", sent.SentPackets, received.ReceivedPackets, s.received.Load())
}

func TestANodeWhoseTunnelInterfaceIsDeletedEndsAndSaysSo(t *testing.T) {
	w := newWorld(t)
	west := w.hosts["west"]
	west.start(t)
	eventually(t, "an answer of the node, whose engine is open by then", func() bool { return west.get("/local/status", &Status{}) == nil })
	if out, err := west.space.Run("ip", "link", "del", InsideInterface); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := west.cmd.Wait(); err == nil {
		t.Error("the node ended as if all were well")
	}
	if log := west.log.String(); !strings.Contains(log, "the tunnel engine has ended, start the node again: the interface dssn0 was deleted") {
		t.Errorf("the reason is not given:\n%s", log)
	}
}

// A lane with a path of its own: its packets are seen at that path's hub, the others'
// at the first path's; when the second path is cut, all go by the first.
func TestALaneTravelsByItsOwnPath(t *testing.T) {
	w := newWorld(t)
	west, east := w.hosts["west"], w.hosts["east"]
	west.a.Peers[0].Lanes[1].Path = 1
	for i := range west.a.Meters {
		if m := &west.a.Meters[i]; m.Ingress {
			m.Parts = []dssn.Bandwidth{m.Allocated / 2, m.Allocated / 2}
		}
	}
	text, _ := json.Marshal(west.a)
	if err := os.WriteFile(filepath.Join(west.state, fileAssignment), text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.startAll()
	eventually(t, "the allocated path in use both ways", func() bool { return west.using(t) == "north" && east.using(t) == "north" })

	// Thirty flows of their own ports; how many of their packets a hub passes on.
	const flows, each = 30, 100
	var out []*net.UDPConn
	err := west.space.Do(func() error {
		for range flows {
			c, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: east.id.Addr().AsSlice(), Port: 5000})
			if err != nil {
				return err
			}
			out = append(out, c)
			t.Cleanup(func() { c.Close() })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	passed := func(hub string) int {
		text, err := w.hosts[hub].space.Run("ip", "-j", "-s", "link", "show", "dev", "to-e")
		var links []struct {
			Stats struct{ TX struct{ Bytes int } } `json:"stats64"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(text), &links)
		}
		if err != nil || len(links) != 1 {
			t.Fatalf("ask %s for its counters: %v: %s", hub, err, text)
		}
		return links[0].Stats.TX.Bytes
	}
	const size = 1000
	send := func() (north, south int) {
		n, s := passed("north"), passed("south")
		for i := range each {
			for _, c := range out {
				c.Write(make([]byte, size)) // refused: nobody listens there
			}
			if i%10 == 9 {
				time.Sleep(time.Millisecond) // the pace of a sender
			}
		}
		return passed("north") - n, passed("south") - s
	}
	eventually(t, "packets by both paths", func() bool {
		north, south := send()
		return north > flows*each*size/5 && south > flows*each*size/5
	})
	if out, err := w.hosts["w"].space.Run("ip", "link", "set", "to-south", "down"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "all packets by the first path", func() bool {
		north, south := send()
		return north > flows*each*size && south == 0
	})
}
