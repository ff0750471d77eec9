package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// twoHolders are two holders of one dataset and an address that leads to the
// first until the switch is thrown.
type twoHolders struct {
	*local
	ids     [2]dssn.NodeID
	holders [2]*holder
	at      atomic.Int32 // where the address leads
	named   atomic.Int32 // whom the catalogue names

	mu      sync.Mutex // guards reports
	reports map[string]southbound.Delivery
}

func newTwoHolders(t *testing.T, o Offering) *twoHolders {
	w := &twoHolders{ids: [2]dssn.NodeID{testNode(t, 1), testNode(t, 7)}, reports: map[string]southbound.Delivery{}}
	for i := range w.holders {
		w.holders[i] = serve(t, o)
		w.holders[i].Server.opts.Holder = w.ids[i]
	}
	w.local = w.holders[0].local(t)
	return w
}

func (w *twoHolders) Resolve(ctx context.Context, id dssn.DataID) (Resolution, error) {
	r, err := w.local.Resolve(ctx, id)
	r.Holder = w.ids[w.named.Load()]
	return r, err
}

func (w *twoHolders) Report(_ context.Context, d southbound.Delivery) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports[d.Transfer] = d
	return nil
}

func (w *twoHolders) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return w.holders[w.at.Load()].dial(ctx, network, address)
}

// agree checks that every transfer has one account at both ends, that there are
// as many as said, and that together they are the dataset, but for at most so
// many bytes that had arrived when their holder went away and of which it never heard.
func (w *twoHolders) agree(t *testing.T, want dssn.ByteCount, transfers int, unheard uint64) {
	t.Helper()
	var sum uint64
	var seen int
	for i, h := range w.holders {
		for _, d := range h.Deliveries() {
			seen++
			r := w.reports[d.Transfer]
			sum += d.ContentBytes
			if r.ContentBytes != d.ContentBytes || r.Peer != w.ids[i] || !r.Done {
				t.Errorf("holder %d counts %d bytes of transfer %s; the receiver reported %d from %s (done: %v), want the same from %s", i, d.ContentBytes, d.Transfer, r.ContentBytes, r.Peer, r.Done, w.ids[i])
			}
		}
	}
	if sum > uint64(want) || sum+unheard < uint64(want) || seen != transfers {
		t.Errorf("%d transfers are accounted with %d bytes together, want %d with %d, less at most %d", seen, sum, transfers, want, unheard)
	}
}

// The address comes to lead to a second holder in the middle of a get: it goes
// on from there, nothing is fetched twice, and each holder is accounted for what
// it delivered.
func TestGetGoesOnFromAnotherHolder(t *testing.T) {
	o, r := publish(t, map[string][]byte{"a": pattern(5, 9<<20), "b/c": pattern(6, 3<<20), "z": {}})
	for _, late := range []bool{false, true} { // whether the catalogue is behind
		t.Run(fmt.Sprintf("catalogue late %v", late), func(t *testing.T) {
			w, out := newTwoHolders(t, o), t.TempDir()
			opts := w.holders[0].options(t, w.local, out)
			opts.Local, opts.Streams, opts.wait = w, 1, time.Millisecond
			var arrived atomic.Int64
			var once sync.Once
			opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := w.dial(ctx, network, address)
				if err != nil || w.at.Load() == 1 {
					return c, err
				}
				return &stopper{c, &arrived, 5 << 20, func() {
					once.Do(func() {
						acknowledged(t, w.holders[0])
						w.at.Store(1)
						if !late {
							w.named.Store(1)
						} else {
							time.AfterFunc(20*time.Millisecond, func() { w.named.Store(1) })
						}
						w.holders[0].http.Close() // its books stay, as those of a node that went away do
					})
					c.Close()
				}}, nil
			}
			res, err := Get(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			sameTree(t, o.Dir, out)
			if len(res.Earlier) != 1 || res.Holder != w.ids[1] || res.Fetched != r.Length || res.Resumed != 0 {
				t.Errorf("the result is %+v; want one earlier transfer, the holder %s and %d bytes fetched", res, w.ids[1], r.Length)
			}
			w.agree(t, r.Length, 2, maxBlock)
		})
	}
}

// A get is stopped, and typed again when the catalogue names another holder.
func TestGetTypedAgainGoesOnFromAnotherHolder(t *testing.T) {
	o, r := publish(t, map[string][]byte{"a": pattern(5, 9<<20), "b/c": pattern(6, 3<<20), "z": {}})
	w, out := newTwoHolders(t, o), t.TempDir()
	opts := w.holders[0].options(t, w.local, out)
	opts.Local, opts.Streams, opts.wait = w, 1, time.Millisecond
	var arrived atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := w.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stopper{c, &arrived, 5 << 20, cancel}, nil
	}
	if _, err := Get(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Fatalf("the stopped get ended with %v", err)
	}
	w.at.Store(1)
	w.named.Store(1)
	opts.Dial = w.dial
	res, err := Get(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, out)
	if res.Resumed == 0 || res.Fetched+res.Resumed != r.Length || len(res.Earlier) != 0 {
		t.Errorf("the result is %+v; want %d bytes fetched and resumed together", res, r.Length)
	}
	w.agree(t, r.Length, 2, 0)
}

// acknowledged waits until a holder has heard of some bytes: a get says so once a second.
func acknowledged(t *testing.T, h *holder) {
	for range 1000 {
		for _, d := range h.Deliveries() {
			if d.ContentBytes > 0 {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("nothing was acknowledged to the first holder")
}
