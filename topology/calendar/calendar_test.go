package calendar

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

const horizon = 60 // seconds of a test's time

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func randomGraph(r *rand.Rand) *topology.Graph {
	n := 3 + r.IntN(3)
	nodes := make([]topology.Node, n)
	for i := range nodes {
		nodes[i].Name = "n" + strconv.Itoa(i)
	}
	var links []topology.Link
	for u := range n {
		for v := range n {
			if u != v && r.IntN(2) == 0 {
				links = append(links, topology.Link{Src: u, Dst: v, Capacity: dssn.Bandwidth(8 * (1 + r.IntN(6))), LatencyMicros: int64(1 + r.IntN(4))})
			}
		}
	}
	g, err := topology.Build("random", nodes, links)
	if err != nil {
		panic(err)
	}
	return g
}

// ledger is the slow twin: what every link promises in every second, summed up
// from the bookings alone.
func ledger(c *Calendar) [][]dssn.Bandwidth {
	used := make([][]dssn.Bandwidth, c.g.NumLinks())
	for e := range used {
		used[e] = make([]dssn.Bandwidth, 60*horizon)
	}
	for _, b := range c.bookings {
		for _, p := range b.Pieces {
			for _, e := range p.Path {
				for s := p.Start; s < p.End; s++ {
					used[e][s] += p.Rate
				}
			}
		}
	}
	return used
}

func checkLedger(t *testing.T, c *Calendar, used [][]dssn.Bandwidth) {
	t.Helper()
	for e := range used {
		for s := range used[e] {
			if used[e][s] > c.g.Link(e).Capacity {
				t.Fatalf("link %d promises %d of %d in second %d", e, used[e][s], c.g.Link(e).Capacity, s)
			}
			if got := c.Promised(e, at(int64(s)), at(int64(s)+1)); got != used[e][s] {
				t.Fatalf("link %d promises %d in second %d, the bookings add up to %d: %+v", e, got, s, used[e][s], c.links[e])
			}
		}
		for i, s := range c.links[e] {
			if i > 0 && (s.at <= c.links[e][i-1].at || s.used == c.links[e][i-1].used) {
				t.Fatalf("link %d has a step that does not step: %+v", e, c.links[e])
			}
		}
	}
}

// fits reports by the twin whether a path has the rate free throughout.
func fits(c *Calendar, used [][]dssn.Bandwidth, src, dst int, rate dssn.Bandwidth, start, end int64) bool {
	free := make([]dssn.Bandwidth, len(used))
	for e := range used {
		free[e] = c.g.Link(e).Capacity - slices.Max(used[e][start:end])
	}
	_, err := paths.Shortest(c.g, src, dst, paths.Constraint{Free: free, MinFree: rate})
	return err == nil
}

func TestPromisesAddUpAndAreNeverBroken(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	admitted, refused, bulk, late := 0, 0, 0, 0
	for range 150 {
		g := randomGraph(r)
		c := New(g)
		for id := dssn.ReservationID(1); id < 25; id++ {
			used := ledger(c)
			src, dst := r.IntN(g.NumNodes()), r.IntN(g.NumNodes())
			if src == dst {
				continue
			}
			start := int64(r.IntN(horizon - 10))
			end := start + 1 + int64(r.IntN(10))
			var why *Refused
			switch r.IntN(6) {
			case 0, 1, 2:
				rate := dssn.Bandwidth(1 + r.IntN(24))
				b, err := c.Admit(Request{ID: id, Src: src, Dst: dst, Rate: rate, Start: at(start), End: at(end)})
				if want := fits(c, used, src, dst, rate, start, end); (err == nil) != want {
					t.Fatalf("admit %d from %d to %d in [%d,%d): %v, the twin says %v", rate, src, dst, start, end, err, want)
				}
				if err == nil {
					admitted++
					if err := b.Pieces[0].Path.Check(g, src, dst); err != nil {
						t.Fatal(err)
					}
					break
				}
				refused++
				if !errors.As(err, &why) {
					t.Fatal(err)
				}
				if why.BestRate > 0 && !fits(c, used, src, dst, why.BestRate, start, end) || fits(c, used, src, dst, why.BestRate+1, start, end) {
					t.Fatalf("the best rate %d is not the best", why.BestRate)
				}
				if s := why.BestStart; !s.IsZero() {
					if !fits(c, used, src, dst, rate, s.Unix(), s.Unix()+end-start) {
						t.Fatalf("the offered start %v does not fit", s)
					}
					for x := start; x < s.Unix(); x++ {
						if fits(c, used, src, dst, rate, x, x+end-start) {
							t.Fatalf("start %d fits before the offered %v", x, s)
						}
					}
				}
			case 3:
				volume := dssn.ByteCount(1 + r.IntN(30))
				q := Bulk{ID: id, Src: src, Dst: dst, Volume: volume, NotBefore: at(start), Deadline: at(end), MaxRate: dssn.Bandwidth(r.IntN(3) * 16)}
				b, err := c.AdmitBulk(q)
				best, ok := earliestFinish(c, used, q)
				if err == nil {
					bulk++
					if !ok || best != b.Finish().Unix() {
						t.Fatalf("bulk %+v finishes at %v, the twin at %d", q, b.Finish(), best)
					}
					var bits int64
					for _, p := range b.Pieces {
						bits += int64(p.Rate) * (p.End - p.Start)
					}
					if bits < int64(volume)*8 || bits > int64(volume)*8+(b.Finish().Unix()-start)*8+end-start {
						t.Fatalf("bulk of %d bytes is promised %d bits", volume, bits)
					}
					break
				}
				late++
				if !errors.As(err, &why) {
					t.Fatal(err)
				}
				if ok && best <= end || !why.BestFinish.IsZero() && why.BestFinish.Unix() != best {
					t.Fatalf("bulk %+v was refused with %v, the twin finishes at %d", q, why, best)
				}
			case 4:
				if err := c.Release(1+dssn.ReservationID(r.IntN(int(id))), at(start)); err != nil {
					break
				}
			case 5:
				other := 1 + dssn.ReservationID(r.IntN(int(id)))
				if r.IntN(2) == 0 {
					c.Resize(other, dssn.Bandwidth(1+r.IntN(20)), at(start))
				} else {
					c.Extend(other, at(end))
				}
			}
			checkLedger(t, c, ledger(c))
		}
		c.Forget(at(horizon / 2))
		checkLedger(t, c, ledger(c))
		for id := range c.bookings {
			if err := c.Release(id, at(0)); err != nil {
				t.Fatal(err)
			}
		}
		for e := range c.links {
			if len(c.links[e]) != 0 {
				t.Fatalf("after everything was released link %d still promises %+v", e, c.links[e])
			}
		}
	}
	if admitted < 200 || refused < 100 || bulk < 100 || late < 50 {
		t.Errorf("the cases are lopsided: %d admitted, %d refused, %d bulk, %d late", admitted, refused, bulk, late)
	}
}

// earliestFinish is the twin of place: second by second, a maximum flow each, found
// as a minimum cut over all sets of nodes.
func earliestFinish(c *Calendar, used [][]dssn.Bandwidth, q Bulk) (int64, bool) {
	left := int64(q.Volume) * 8
	for s := q.NotBefore.Unix(); s < int64(len(used[0])); s++ {
		if s >= q.Deadline.Unix()+bulkHorizon*(q.Deadline.Unix()-q.NotBefore.Unix()) {
			return 0, false
		}
		least := dssn.Bandwidth(1 << 62)
		for set := range 1 << c.g.NumNodes() {
			if set>>q.Src&1 == 0 || set>>q.Dst&1 == 1 {
				continue
			}
			var cut dssn.Bandwidth
			for e := range used {
				if l := c.g.Link(e); set>>l.Src&1 == 1 && set>>l.Dst&1 == 0 {
					cut += l.Capacity - used[e][s]
				}
			}
			least = min(least, cut)
		}
		if q.MaxRate > 0 {
			least = min(least, q.MaxRate)
		}
		if left -= int64(least); left <= 0 {
			return s + 1, true
		}
	}
	return 0, false
}

func TestRequestsThatMakeNoSenseAreRefusedByASentence(t *testing.T) {
	g := randomGraph(rand.New(rand.NewPCG(2, 2)))
	c := New(g)
	for _, q := range []Request{
		{Src: 0, Dst: 1, Rate: 1, Start: at(0), End: at(1)},
		{ID: 1, Src: 0, Dst: 1, Start: at(0), End: at(1)},
		{ID: 1, Src: 0, Dst: 1, Rate: 1, Start: at(1), End: at(1)},
		{ID: 1, Src: 0, Dst: 0, Rate: 1, Start: at(0), End: at(1)},
		{ID: 1, Src: 0, Dst: 99, Rate: 1, Start: at(0), End: at(1)},
	} {
		if b, err := c.Admit(q); err == nil {
			t.Errorf("%+v was admitted as %+v", q, b)
		}
	}
	for _, q := range []Bulk{
		{Src: 0, Dst: 1, Volume: 1, NotBefore: at(0), Deadline: at(1)},
		{ID: 1, Src: 0, Dst: 1, NotBefore: at(0), Deadline: at(1)},
		{ID: 1, Src: 0, Dst: 1, Volume: 1, NotBefore: at(1), Deadline: at(1)},
		{ID: 1, Src: 0, Dst: 0, Volume: 1, NotBefore: at(0), Deadline: at(1)},
		{ID: 1, Src: 0, Dst: 99, Volume: 1, NotBefore: at(0), Deadline: at(1)},
	} {
		if b, err := c.AdmitBulk(q); err == nil {
			t.Errorf("%+v was admitted as %+v", q, b)
		}
	}
}

// BenchmarkAdmit measures one admission, and its release, on Kdl with a calendar
// of ten thousand reservations.
func BenchmarkAdmit(b *testing.B) {
	text, err := os.ReadFile("../../../shared/topologies/Kdl.json")
	if err != nil {
		b.Skip("../shared/topologies is not beside the repository")
	}
	g, err := topology.Read(text)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	c := New(g)
	ask := func(id int) Request {
		src := r.IntN(g.NumNodes())
		start := int64(r.IntN(7 * 86400))
		return Request{ID: dssn.ReservationID(id), Src: src, Dst: (src + 1 + r.IntN(g.NumNodes()-1)) % g.NumNodes(),
			Rate: dssn.Bandwidth(1+r.IntN(1000)) * dssn.Mbps, Start: at(start), End: at(start + 600 + int64(r.IntN(6*3600)))}
	}
	for id := 1; c.Len() < 10000; id++ {
		var why *Refused
		if _, err := c.Admit(ask(id)); err != nil && !errors.As(err, &why) {
			b.Fatal(err)
		}
	}
	id := 1 << 30
	for b.Loop() {
		id++
		if _, err := c.Admit(ask(id)); err == nil {
			b.StopTimer()
			if err := c.Release(dssn.ReservationID(id), at(0)); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
