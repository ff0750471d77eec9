package bound

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

func TestAPathByHand(t *testing.T) {
	// One hop: 10G, 1 ms away, 2G of others with 100 kB bursts, one 1500-byte packet
	// on the wire. R = 8G; T = 1 ms + 8·101500/8e9 = 1 ms + 101.5 µs; store and forward
	// of 1500 bytes 1.5 µs; burst of 15 kB at 8G 15 µs.
	flow := Envelope{Rate: dssn.Gbps, Burst: 15000, Packet: 1500}
	hop := Hop{Capacity: 10 * dssn.Gbps, Propagation: time.Millisecond, CrossRate: 2 * dssn.Gbps, CrossBurst: 100_000, OtherPacket: 1500}
	b, err := Path(flow, []Hop{hop})
	if err != nil {
		t.Fatal(err)
	}
	want := time.Millisecond + 101500*time.Nanosecond + 1500*time.Nanosecond + 15*time.Microsecond
	if d := b.Delay - want; d < 0 || d > 10 {
		t.Errorf("delay %v, want %v and at most 10 ns more", b.Delay, want)
	}
	// Backlog: 15 kB + 1G · 1.103 ms / 8.
	if d := int64(b.Backlog) - (15000 + 137875); d < 0 || d > 10 {
		t.Errorf("backlog %d, want 152875 and at most 10 more", b.Backlog)
	}
	// The burst is paid once: three hops cost three latencies but one burst.
	three, err := Path(flow, []Hop{hop, hop, hop})
	if err != nil {
		t.Fatal(err)
	}
	if want := 3*(b.Delay-15*time.Microsecond) + 15*time.Microsecond; three.Delay > want || three.Delay < want-20 {
		t.Errorf("three hops take %v, want %v", three.Delay, want)
	}
}

func TestWhatCannotBeBoundIsRefused(t *testing.T) {
	ok := Hop{Capacity: dssn.Gbps}
	for name, c := range map[string]struct {
		flow Envelope
		hops []Hop
		want string
	}{
		"no hops":     {Envelope{Rate: 1, Burst: 1}, nil, "without hops"},
		"big packet":  {Envelope{Rate: 1, Burst: 1, Packet: 2}, []Hop{ok}, "token bucket"},
		"full link":   {Envelope{Rate: 1, Burst: 1}, []Hop{ok, {Capacity: 5, CrossRate: 5}}, "hop 2"},
		"slow link":   {Envelope{Rate: 3, Burst: 1}, []Hop{{Capacity: 5, CrossRate: 3}}, "hop 1"},
		"no capacity": {Envelope{Rate: 1, Burst: 1}, []Hop{{}}, "hop 1"},
	} {
		if _, err := Path(c.flow, c.hops); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a sentence with %q", name, err, c.want)
		}
	}
}

// TestNoSimulatedBitIsLaterThanItsBound is the twin: a fluid simulation of strict
// priority with the greediest sources, in steps of a microsecond.
func TestNoSimulatedBitIsLaterThanItsBound(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	tight := 0.0
	for range 200 {
		hops := make([]Hop, 1+r.IntN(4))
		flow := Envelope{Rate: dssn.Bandwidth(1+r.IntN(200)) * dssn.Mbps, Burst: dssn.ByteCount(1500 + r.IntN(20000))}
		for i := range hops {
			hops[i] = Hop{Capacity: dssn.Gbps, CrossRate: dssn.Bandwidth(r.IntN(700)) * dssn.Mbps, CrossBurst: dssn.ByteCount(r.IntN(30000)), CutThrough: true}
		}
		b, err := Path(flow, hops)
		if err != nil {
			t.Fatal(err)
		}
		got := simulate(flow, hops)
		if got > b.Delay+2*time.Microsecond*time.Duration(len(hops)+1) {
			t.Fatalf("flow %+v over %+v: simulated %v, bound %v", flow, hops, got, b.Delay)
		}
		tight = max(tight, got.Seconds()/b.Delay.Seconds())
	}
	if tight < 0.5 {
		t.Errorf("the closest simulation reached only %.0f %% of its bound", 100*tight)
	}
}

// simulate returns the largest delay of any bit of flow when it and the crossing
// traffic send all they may at once, others being served first. Crossing traffic of hop i
// begins when the flow's first bits can reach it.
func simulate(flow Envelope, hops []Hop) time.Duration {
	const step = 1e-6
	queue := make([]float64, len(hops))
	cross := make([]float64, len(hops))
	for i, h := range hops {
		cross[i] = 8 * float64(h.CrossBurst)
	}
	sent, arrived := []float64{}, []float64{}
	total, out := 0.0, 0.0
	for s := range 4000 {
		in := float64(flow.Rate) * step
		if s == 0 {
			in += 8 * float64(flow.Burst)
		}
		total += in
		sent = append(sent, total)
		for i, h := range hops {
			queue[i] += in
			cross[i] += float64(h.CrossRate) * step
			room := float64(h.Capacity) * step
			first := min(room, cross[i])
			cross[i] -= first
			in = min(room-first, queue[i])
			queue[i] -= in
		}
		out += in
		arrived = append(arrived, out)
	}
	worst, j := 0, 0
	for s, x := range sent[:2000] {
		for j < len(arrived) && arrived[j] < x*(1-1e-9) {
			j++
		}
		worst = max(worst, j-s)
	}
	return time.Duration(float64(worst) * step * 1e9)
}

func TestNetworkGrowsBurstsAndRefusesCircles(t *testing.T) {
	nodes := []topology.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	var links []topology.Link
	for i := range 3 {
		links = append(links, topology.Link{Src: i, Dst: (i + 1) % 3, Capacity: dssn.Gbps, LatencyMicros: 10})
	}
	g, err := topology.Build("ring", nodes, links)
	if err != nil {
		t.Fatal(err)
	}
	e := Envelope{Rate: 100 * dssn.Mbps, Burst: 3000, Packet: 1500}
	long, short := Flow{e, paths.Path{0, 1}}, Flow{e, paths.Path{1}}
	out, err := Network(g, []Flow{long, short}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	// The long flow reaches link 1 with its burst grown by 100M times the 12 µs that
	// another class's packet can hold it up on link 0: 150 bytes and a little.
	hop := Hop{Capacity: dssn.Gbps, Propagation: 10 * time.Microsecond, CrossRate: 100 * dssn.Mbps, CrossBurst: 3151, OtherPacket: 1500}
	want, err := Path(e, []Hop{hop})
	if err != nil {
		t.Fatal(err)
	}
	if d := out[1].Delay - want.Delay; d < -20 || d > 20 {
		t.Errorf("the short flow is bound by %v, want %v", out[1].Delay, want.Delay)
	}
	circle := []Flow{{e, paths.Path{0, 1}}, {e, paths.Path{1, 2}}, {e, paths.Path{2, 0}}}
	if _, err := Network(g, circle, 1500); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("three flows round a ring: got %v", err)
	}
	big := e
	big.Rate = 950 * dssn.Mbps
	if _, err := Network(g, []Flow{{big, paths.Path{0}}, {e, paths.Path{0}}}, 1500); err == nil || !strings.Contains(err.Error(), "promised") {
		t.Errorf("an overfull link: got %v", err)
	}
}
