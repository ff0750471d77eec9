package southbound

import (
	"encoding/json"
	"fmt"
)

// Delta is what changes one whole Assignment into the next: applied to the one
// that it was made from it gives exactly the other, so that a node never acts on
// anything but whole ones. On a stream the one before is the last that was sent
// there; after anything else a node asks for a whole one by attaching again.
//
//	old list   A B C D E F          new list   A B X D E F
//	edit       copy 2 at 0, put X, copy 3 at 3
type Delta struct {
	From uint64 `json:"from"` // generation that it changes
	// Next is the new assignment without the lists below; whatever has no edit here
	// is in it whole.
	Next       Assignment          `json:"next"`
	Neighbours *Edit[Neighbour]    `json:"neighbours,omitempty"`
	Routes     *Edit[Route]        `json:"routes,omitempty"`
	Peers      *Edit[Peer]         `json:"peers,omitempty"`
	Meters     *Edit[Meter]        `json:"meters,omitempty"`
	Permits    *Edit[Permit]       `json:"permits,omitempty"`
	Transit    *Edit[TransitMeter] `json:"transit,omitempty"`
}

// Edit makes a list from the one before: its runs one after the other.
type Edit[T any] struct {
	Runs []Run[T] `json:"runs"`
}

// Run is Copy items of the old list from index At on, then those of Put.
type Run[T any] struct {
	At   int `json:"at,omitempty"`
	Copy int `json:"copy,omitempty"`
	Put  []T `json:"put,omitempty"`
}

// Diff returns the delta from a to b, which are not changed and must not be
// afterwards.
func Diff(a, b *Assignment) *Delta {
	d := &Delta{From: a.Generation, Next: *b}
	n := &d.Next
	d.Neighbours, n.Neighbours = edit(a.Neighbours, b.Neighbours), nil
	d.Routes, n.Routes = edit(a.Routes, b.Routes), nil
	d.Peers, n.Peers = edit(a.Peers, b.Peers), nil
	d.Meters, n.Meters = edit(a.Meters, b.Meters), nil
	d.Permits, n.Permits = edit(a.Permits, b.Permits), nil
	if b.Transit != nil {
		d.Transit, n.Transit = edit(a.Transit, b.Transit), nil
	}
	return d
}

// edit copies every item that it finds, in its order, behind the one copied
// before; what is in the old list later than that is looked for once.
func edit[T any](a, b []T) *Edit[T] {
	if b == nil {
		return nil
	}
	at := map[string][]int{} // by content, ascending
	for i := range a {
		k := content(&a[i])
		at[k] = append(at[k], i)
	}
	e := &Edit[T]{Runs: []Run[T]{}}
	for i := range b {
		last := len(e.Runs) - 1
		where := at[content(&b[i])]
		switch {
		case len(where) == 0 && last < 0:
			e.Runs = append(e.Runs, Run[T]{Put: b[i : i+1]})
		case len(where) == 0:
			r := &e.Runs[last]
			r.Put = append(r.Put[:len(r.Put):len(r.Put)], b[i])
		case last >= 0 && len(e.Runs[last].Put) == 0 && contains(where, e.Runs[last].At+e.Runs[last].Copy):
			e.Runs[last].Copy++
		default:
			e.Runs = append(e.Runs, Run[T]{At: where[0], Copy: 1})
		}
	}
	return e
}

func contains(list []int, i int) bool {
	for _, v := range list {
		if v == i {
			return true
		}
	}
	return false
}

// content is what an item says; items that say the same are the same.
func content(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("a part of an assignment cannot be written: " + err.Error()) // plain data
	}
	return string(b)
}

// Apply returns the assignment that d makes of a, which is not changed. The error
// says that d was made from another.
func (d *Delta) Apply(a *Assignment) (*Assignment, error) {
	if a == nil || a.Generation != d.From || a.Node != d.Next.Node {
		return nil, fmt.Errorf("the change to generation %d is of generation %d, which is not held", d.Next.Generation, d.From)
	}
	n := d.Next
	err := apply(&n.Neighbours, a.Neighbours, d.Neighbours)
	if err == nil {
		err = apply(&n.Routes, a.Routes, d.Routes)
	}
	if err == nil {
		err = apply(&n.Peers, a.Peers, d.Peers)
	}
	if err == nil {
		err = apply(&n.Meters, a.Meters, d.Meters)
	}
	if err == nil {
		err = apply(&n.Permits, a.Permits, d.Permits)
	}
	if err == nil {
		err = apply(&n.Transit, a.Transit, d.Transit)
	}
	if err != nil {
		return nil, fmt.Errorf("the change to generation %d: %w", n.Generation, err)
	}
	return &n, nil
}

// maxItems bounds a list that an edit makes: copies cost nothing to send.
const maxItems = 1 << 20

func apply[T any](to *[]T, old []T, e *Edit[T]) error {
	if e == nil {
		return nil
	}
	out := []T{}
	for _, r := range e.Runs {
		if r.At < 0 || r.Copy < 0 || r.At > len(old) || r.Copy > len(old)-r.At {
			return fmt.Errorf("it copies %d items at %d of a list of %d", r.Copy, r.At, len(old))
		}
		if len(out)+r.Copy+len(r.Put) > maxItems {
			return fmt.Errorf("it makes a list of more than %d items", maxItems)
		}
		out = append(out, old[r.At:r.At+r.Copy]...)
		out = append(out, r.Put...)
	}
	*to = out
	return nil
}
