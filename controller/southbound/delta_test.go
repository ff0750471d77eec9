package southbound

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"dssn"
)

// randomAssignment changes a little of a, or makes one.
func randomAssignment(r *rand.Rand, a *Assignment) *Assignment {
	b := &Assignment{Neighbours: []Neighbour{}, Routes: []Route{}, Peers: []Peer{}, Meters: []Meter{}, Permits: []Permit{}}
	if a != nil {
		b.Generation, b.Steering = a.Generation+1, a.Steering != (r.IntN(5) == 0)
		b.Neighbours, b.Routes, b.Peers = mutate(r, a.Neighbours), mutate(r, a.Routes), mutate(r, a.Peers)
		b.Meters, b.Permits = mutate(r, a.Meters), mutate(r, a.Permits)
		if r.IntN(3) > 0 {
			b.Transit = mutate(r, a.Transit)
		}
	}
	for range r.IntN(4) {
		b.Neighbours = insert(r, b.Neighbours, Neighbour{Name: fmt.Sprint("n", r.IntN(9)), SID: dssn.SID(r.IntN(9))})
		b.Routes = insert(r, b.Routes, Route{Prefix: netip.MustParsePrefix(fmt.Sprintf("5f00:d55:%x::/48", r.IntN(9)))})
		b.Peers = insert(r, b.Peers, Peer{Name: fmt.Sprint("p", r.IntN(9)), Port: uint16(r.IntN(3)), PresharedKey: Key{byte(r.IntN(3))}})
		b.Meters = insert(r, b.Meters, Meter{Reservation: dssn.ReservationID(r.IntN(9)), Allocated: dssn.Bandwidth(r.IntN(3))})
		b.Permits = insert(r, b.Permits, Permit{Grant: fmt.Sprint("g", r.IntN(9)), Begun: []string{"x"}[:r.IntN(2)]})
	}
	return b
}

func mutate[T any](r *rand.Rand, list []T) []T {
	out := append([]T{}, list...)
	for range r.IntN(3) {
		if n := len(out); n > 0 {
			i, j := r.IntN(n), r.IntN(n)
			switch r.IntN(3) {
			case 0:
				out = append(out[:i], out[i+1:]...)
			case 1:
				out[i], out[j] = out[j], out[i]
			default:
				out = append(out, out[i])
			}
		}
	}
	return out
}

func insert[T any](r *rand.Rand, list []T, v T) []T {
	i := r.IntN(len(list) + 1)
	return append(append(append([]T{}, list[:i]...), v), list[i:]...)
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A delta, sent as it is sent, equals the whole.
func TestADeltaEqualsTheWhole(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		held := randomAssignment(r, nil)
		for range 20 {
			next := randomAssignment(r, held)
			was, want := text(t, held), text(t, next)
			var d Delta
			if err := json.Unmarshal([]byte(text(t, Diff(held, next))), &d); err != nil {
				t.Fatal(err)
			}
			got, err := d.Apply(held)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if text(t, got) != want {
				t.Fatalf("seed %d: the delta gives\n%s\nwant\n%s\nfrom\n%s", seed, text(t, got), want, was)
			}
			if text(t, held) != was {
				t.Fatalf("seed %d: applying it changed what it was applied to", seed)
			}
			held = got
		}
	}
}

func TestADeltaOfAnotherGenerationIsRefused(t *testing.T) {
	a, b := &Assignment{Generation: 4}, &Assignment{Generation: 5, Meters: []Meter{{Reservation: 1}}}
	d := Diff(a, b)
	for _, held := range []*Assignment{nil, {Generation: 3}, b} {
		if got, err := d.Apply(held); err == nil {
			t.Errorf("a change of generation 4 made %v of %v", got, held)
		}
	}
}

func TestADeltaOfOneChangeIsShort(t *testing.T) {
	a := &Assignment{Generation: 1}
	for i := range 10_000 {
		a.Meters = append(a.Meters, Meter{Reservation: dssn.ReservationID(i + 1), Allocated: dssn.Gbps})
	}
	b := *a
	b.Generation, b.Meters = 2, append([]Meter{}, a.Meters...)
	b.Meters[5000].Allocated = 2 * dssn.Gbps
	if n, whole := len(text(t, Diff(a, &b))), len(text(t, &b)); n > 2000 {
		t.Errorf("one meter of ten thousand changed, and the delta has %d bytes of the whole's %d", n, whole)
	}
}

func FuzzDeltaApply(f *testing.F) {
	f.Add(`{"from":1,"next":{"generation":2},"meters":{"runs":[{"at":1,"copy":1},{"put":[{}]}]}}`)
	f.Add(`{"from":1,"meters":{"runs":[{"at":-1,"copy":9223372036854775807}]}}`)
	f.Fuzz(func(t *testing.T, s string) {
		var d Delta
		if json.Unmarshal([]byte(s), &d) == nil {
			_, _ = d.Apply(&Assignment{Generation: 1, Meters: make([]Meter, 3), Peers: make([]Peer, 2)})
		}
	})
}
