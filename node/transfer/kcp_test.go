package transfer

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"

	"dssn"
)

// serveKCP answers at a UDP port of loopback too. Datagrams arrive at ::1, which
// is no identifier, so all are let in.
func (h *holder) serveKCP(t testing.TB) (address string) {
	t.Helper()
	u, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDatagrams(u, func(dssn.DataID) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	l, err := kcp.ServeConn(nil, 0, 0, d)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.serveOn(kcpListener{l}) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.Close()
		u.Close()
	})
	return u.LocalAddr().String()
}

// lossy loses packets in both directions, by a seed.
type lossy struct {
	net.PacketConn
	share float64
	mu    sync.Mutex // guards r
	r     *rand.Rand
	lost  atomic.Int64
}

func (l *lossy) loses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r.Float64() >= l.share {
		return false
	}
	l.lost.Add(1)
	return true
}

func (l *lossy) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.loses() {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, to)
}

func (l *lossy) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if err != nil || !l.loses() {
			return n, from, err
		}
	}
}

// dialLossy is dialKCP over a line that loses a share of the packets.
func dialLossy(address string, share float64, lost *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	var n atomic.Uint64
	return func(context.Context, string, string) (net.Conn, error) {
		to := netip.MustParseAddrPort(address)
		u, err := net.ListenUDP("udp6", nil)
		if err != nil {
			return nil, err
		}
		l := &lossy{PacketConn: u, share: share, r: rand.New(rand.NewPCG(n.Add(1), 0))}
		s, err := kcp.NewConn4(uint32(n.Load()), net.UDPAddrFromAddrPort(to), nil, 0, 0, true, l)
		if err != nil {
			return nil, err
		}
		tune(s, leastMTU)
		return &counted{s, l, lost}, nil
	}
}

// counted adds up at its end what its line has lost.
type counted struct {
	net.Conn
	line  *lossy
	total *atomic.Int64
}

func (c *counted) Close() error {
	c.total.Add(c.line.lost.Swap(0))
	return c.Conn.Close()
}

func TestGetOverKCPWhateverIsLost(t *testing.T) {
	o, r := publish(t, someFiles())
	for _, share := range []float64{0, 0.05, 0.2} {
		h := serve(t, o)
		h.terms.Rate = 200 * dssn.Mbps
		address := h.serveKCP(t)
		l, out := h.local(t), t.TempDir()
		opts := h.options(t, l, out)
		var lost atomic.Int64
		opts.Transport, opts.Dial = KCP, dialLossy(address, share, &lost)
		res, err := Get(t.Context(), opts)
		if err != nil {
			t.Fatalf("with %.0f %% lost: %v", 100*share, err)
		}
		t.Logf("with %.0f %% lost: %.1f Mbit/s, %d retries", 100*share, float64(res.Rate)/1e6, res.Retries)
		sameTree(t, o.Dir, out)
		equalEnds(t, h, l, r.Length)
		if res.Fetched != r.Length || (share > 0) != (lost.Load() > 0) {
			t.Errorf("with %.0f %% lost: %d packets were lost, and the result is %+v", 100*share, lost.Load(), res)
		}
	}
}

// Who does not acknowledge what arrived is not served over KCP: nobody would
// count it.
func TestStockClientsAreNotServedOverKCP(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"a": pattern(1, 100)})
	h := serve(t, o)
	address := h.serveKCP(t)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialKCP(ctx, network, address)
	}}}
	res, err := c.Get("http://identifier/a")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %s, want 400", res.Status)
	}
}

func TestPaceOfKCPIsVirtualScheduling(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := &kcpConn{}
	if c.reserve(1<<20, now) != 0 {
		t.Error("a session without a rate waits")
	}
	c.pace(16 * 8 * dssn.Mbps) // of which 15/16 is used: 15 MB/s
	for range 4 {
		if w := c.reserve(kcpChunk, now); w > 0 {
			t.Errorf("one of the first chunks waits %s", w)
		}
	}
	var last time.Duration
	for range 1000 {
		last = c.reserve(15_000, now) // a millisecond each
	}
	if last < 990*time.Millisecond || last > 1010*time.Millisecond {
		t.Errorf("a second's worth is sent after %s", last)
	}
	// After a rest no more than a few chunks go at once.
	now = now.Add(time.Hour)
	sent := 0
	for c.reserve(kcpChunk, now) <= 0 {
		sent++
	}
	if sent < 4 || sent > 5 {
		t.Errorf("after a rest %d chunks go at once", sent)
	}
}

// A session whose receiver is gone, which KCP does not tell, gives its part of
// the rate to those that are there.
func TestIdleSessionsLeaveTheRateToOthers(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := &kcpConn{wrote: now}
	var p pacing
	here := &kcpConn{}
	for _, s := range []*kcpConn{c, here} {
		p.use(s, netip.IPv6Loopback(), dssn.DataID{}, 160*dssn.Mbps)
	}
	half := here.rate
	if c.rest(now.Add(-time.Hour), now.Add(kcpIdle/2)) || here.rate != half {
		t.Error("half a second after a write the session counts as idle")
	}
	if c.rest(now.Add(-time.Hour), now.Add(kcpIdle)) || here.rate < half*19/10 {
		t.Errorf("the other session was given %s and is given %s beside an idle one, want twice that", half, here.rate)
	}
	p.use(c, netip.IPv6Loopback(), dssn.DataID{}, 160*dssn.Mbps)
	if here.rate != half {
		t.Errorf("when it is asked again the other has %s, want %s", here.rate, half)
	}
	if !c.rest(now.Add(-time.Hour), now.Add(kcpQuiet)) {
		t.Error("the session does not end")
	}
}

func TestCrawlingSessionsAreFound(t *testing.T) {
	const fast, slow = 1 << 20, 1 << 10
	for name, c := range map[string]struct {
		looks [][]uint64 // by look, the bytes of each session
		idle  int        // this session is not waited for; -1: all are
		want  []int
	}{
		"one crawls beside others":        {[][]uint64{{fast, slow}, {fast, slow}, {fast, slow}}, -1, []int{1}},
		"two looks are not enough":        {[][]uint64{{fast, slow}, {fast, slow}}, -1, nil},
		"it recovers":                     {[][]uint64{{fast, slow}, {fast, slow}, {fast, fast}, {fast, slow}}, -1, nil},
		"one alone, slower than it was":   {[][]uint64{{fast}, {slow}, {slow}, {slow}}, -1, []int{0}},
		"all are slow, as the line is":    {[][]uint64{{slow, slow}, {slow, slow}, {slow, slow}}, -1, nil},
		"nobody waits for it":             {[][]uint64{{fast, 0}, {fast, 0}, {fast, 0}}, 1, nil},
		"a quarter of the best is normal": {[][]uint64{{fast, fast / 4}, {fast, fast / 4}, {fast, fast / 4}}, -1, nil},
	} {
		all := make([]*tempo, len(c.looks[0]))
		for i := range all {
			all[i] = &tempo{waiting: i != c.idle}
		}
		var got []int
		for _, look := range c.looks {
			for i, n := range look {
				all[i].bytes = n
			}
			got = crawlers(all)
		}
		if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
			t.Errorf("%s: found %v, want %v", name, got, c.want)
		}
	}
}

// slowConn brings next to nothing once it has brought so much.
type slowConn struct {
	net.Conn
	left int
}

func (c *slowConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		time.Sleep(100 * time.Millisecond) // what crawls, crawls in real time
		b = b[:min(len(b), 100)]
	}
	n, err := c.Conn.Read(b)
	c.left -= n
	return n, err
}

// A session that crawls is replaced, and the get ends in good time.
func TestGetReplacesASessionThatCrawls(t *testing.T) {
	o, r := publish(t, map[string][]byte{"a": pattern(3, 40<<20)})
	h := serve(t, o)
	h.terms.Rate = 200 * dssn.Mbps
	address := h.serveKCP(t)
	l, out := h.local(t), t.TempDir()
	opts := h.options(t, l, out)
	var opened atomic.Int64
	opts.Transport, opts.Dial = KCP, func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := dialKCP(ctx, network, address)
		if err == nil && opened.Add(1) == 2 { // the first is the manifest's
			return &slowConn{c, 2 << 20}, nil
		}
		return c, err
	}
	res, err := Get(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, out)
	equalEnds(t, h, l, r.Length)
	if res.Retries == 0 {
		t.Error("the session that crawled was not replaced")
	}
}
