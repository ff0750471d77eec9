package calendar

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"dssn"
	"dssn/topology/paths"
)

// A calendar filled from another's bookings promises the same, and what is removed
// leaves nothing behind.
func TestWhatWasPromisedElsewhereIsBookedAsItIs(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for range 50 {
		g := randomGraph(r)
		a, b := New(g), New(g)
		for id := dssn.ReservationID(1); id < 12; id++ {
			start := int64(r.IntN(horizon - 10))
			src, dst := r.IntN(g.NumNodes()), r.IntN(g.NumNodes())
			if k, err := a.Admit(Request{ID: id, Src: src, Dst: dst, Rate: dssn.Bandwidth(1 + r.IntN(16)), Start: at(start), End: at(start + 1 + int64(r.IntN(9)))}); err == nil {
				if err := b.Book(&Booking{ID: k.ID, Src: src, Dst: dst, Pieces: slices.Clone(k.Pieces)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for e := range a.links {
			if !slices.Equal(a.links[e], b.links[e]) {
				t.Fatalf("link %d promises %+v, the copy %+v", e, a.links[e], b.links[e])
			}
			for _, at := range b.Changes([]int32{int32(e)}, at(0), at(horizon)) {
				if b.links[e].from(at.Unix()) < 0 || b.links[e][b.links[e].from(at.Unix())].at != at.Unix() {
					t.Fatalf("link %d does not change at %v", e, at)
				}
			}
		}
		for id := range b.bookings {
			if err := b.Book(&Booking{ID: id}); err == nil {
				t.Fatal("a booking was booked twice")
			}
			if b.Remove(id) == nil || b.Remove(id) != nil {
				t.Fatal("a booking is removed once")
			}
		}
		for e := range b.links {
			if len(b.links[e]) > 0 {
				t.Fatalf("after everything was removed link %d still promises %+v", e, b.links[e])
			}
		}
	}
	c := New(randomGraph(r))
	for _, bad := range []*Booking{{}, {ID: 1, Pieces: []Piece{{Start: 2, End: 2}}}, {ID: 1, Pieces: []Piece{{Path: paths.Path{999}, Start: 1, End: 2}}}} {
		if err := c.Book(bad); err == nil || c.Len() != 0 {
			t.Errorf("booking %+v: got %v", bad, err)
		}
	}
}

// The twin goes second by second along the one path.
func TestABulkTransferKeepsToItsPath(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	admitted, late := 0, 0
	for range 400 {
		g := randomGraph(r)
		c := New(g)
		src, dst := r.IntN(g.NumNodes()), r.IntN(g.NumNodes())
		path, err := paths.Shortest(g, src, dst, paths.Constraint{})
		if err != nil || src == dst {
			continue
		}
		for id := dssn.ReservationID(1); id < 8; id++ {
			start := int64(r.IntN(30))
			c.Admit(Request{ID: id, Src: src, Dst: dst, Rate: dssn.Bandwidth(1 + r.IntN(16)), Start: at(start), End: at(start + 1 + int64(r.IntN(9)))})
		}
		used := ledger(c)
		q := Bulk{ID: 99, Src: src, Dst: dst, Volume: dssn.ByteCount(1 + r.IntN(60)), NotBefore: at(2), Deadline: at(2 + 1 + int64(r.IntN(20))), MaxRate: dssn.Bandwidth(r.IntN(3) * 16), Path: path}
		left, finish := int64(8*q.Volume), int64(0)
		for s := int64(2); left > 0; s++ {
			rate := int64(1 << 40)
			if q.MaxRate > 0 {
				rate = int64(q.MaxRate)
			}
			for _, e := range path {
				rate = min(rate, int64(g.Link(int(e)).Capacity)-int64(used[e][s]))
			}
			left, finish = left-rate, s+1
		}
		b, err := c.AdmitBulk(q)
		var why *Refused
		switch {
		case err == nil:
			admitted++
			if b.Finish().Unix() != finish || finish > q.Deadline.Unix() {
				t.Fatalf("%+v finishes at %v, the twin at %d", q, b.Finish(), finish)
			}
			for _, p := range b.Pieces {
				if !slices.Equal(p.Path, path) {
					t.Fatalf("%+v uses %v", q, p.Path)
				}
			}
		case !errors.As(err, &why):
			t.Fatal(err)
		default:
			late++
			beyond := finish > q.Deadline.Unix()+bulkHorizon*(q.Deadline.Unix()-q.NotBefore.Unix()) && why.BestFinish.IsZero()
			if finish <= q.Deadline.Unix() || !beyond && why.BestFinish.Unix() != finish {
				t.Fatalf("%+v was refused with %v, the twin finishes at %d", q, why, finish)
			}
		}
		checkLedger(t, c, ledger(c))
	}
	if admitted < 50 || late < 50 {
		t.Errorf("the cases are lopsided: %d admitted, %d late", admitted, late)
	}
}
