package tunnel

import (
	"bytes"
	"crypto/ecdh"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sort"
	"testing"
	"time"

	"dssn/dataplane"
	"dssn/dataplane/fib"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
)

// A network of whole nodes (machine and worker) in virtual time, on one thread,
// with one seed.

type host struct {
	*Machine
	worker  *worker.Worker
	inside  *porttest.Inside
	outside *porttest.Outside
	key     Key
	address netip.Addr
	wan     netip.AddrPort
	peers   []*session.Peer
	wanted  []*session.Peer
	proved  []*session.Session
	heard   []heard
	busy    bool
	reasons map[Reason]int
	gate    *Gate
}

type heard struct {
	from netip.AddrPort
	data []byte
}

func (h *host) Handshake(b []byte, from netip.AddrPort) bool {
	h.heard = append(h.heard, heard{from, bytes.Clone(b)})
	return true
}
func (h *host) Want(p *session.Peer)         { h.wanted = append(h.wanted, p) }
func (h *host) Confirmed(s *session.Session) { h.proved = append(h.proved, s) }

type world struct {
	t      *testing.T
	r      *rand.Rand
	random io.Reader
	now    time.Duration
	wall   time.Time
	hosts  []*host
	flying []flying
	// The network's manners.
	delay            time.Duration
	lose, double     float64
	reorder          time.Duration
	onTheWire        func(from *host, d porttest.Datagram) bool
	initiations, all int
}

type flying struct {
	at time.Duration
	to netip.AddrPort
	d  porttest.Datagram
}

// chaCha makes a deterministic io.Reader.
type reader struct{ *rand.ChaCha8 }

func newWorld(t *testing.T, seed uint64) *world {
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	return &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), random: reader{rand.NewChaCha8(s)},
		now: time.Second, wall: time.Unix(1_700_000_000, 0), delay: 10 * time.Millisecond}
}

func (w *world) add() *host {
	n := len(w.hosts) + 1
	h := &host{inside: &porttest.Inside{}, outside: &porttest.Outside{}, reasons: map[Reason]int{},
		address: netip.MustParseAddr(fmt.Sprintf("3fff:d55::%d", n)),
		wan:     netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:%d::1]:51820", n))}
	io.ReadFull(w.random, h.key[:])
	h.boot(w)
	w.hosts = append(w.hosts, h)
	return h
}

// boot starts the host's program anew.
func (h *host) boot(w *world) {
	m, err := New(h.key, w.random)
	if err != nil {
		w.t.Fatal(err)
	}
	h.Machine, h.peers = m, nil
	h.worker = worker.New(worker.Options{Inside: h.inside, Outside: h.outside, Control: h, Wake: func() {}})
	h.gate = NewGate(m.Public())
}

// meet makes a and b peers.
func (w *world) meet(a, b *host, psk Key, keepalive time.Duration) {
	for _, p := range [][2]*host{{a, b}, {b, a}} {
		h, o := p[0], p[1]
		s := &session.Peer{Key: o.Public()}
		s.MoveTo(o.wan)
		h.set(w, Config{Key: o.Public(), PresharedKey: psk, Keepalive: keepalive, Lanes: []Lane{{Handle: s}}})
		h.peers = append(h.peers, s)
		var routes []fib.Entry[*session.Lanes]
		for _, q := range h.peers {
			for _, x := range w.hosts {
				if x.Public() == q.Key {
					routes = append(routes, fib.Entry[*session.Lanes]{Prefix: netip.PrefixFrom(x.address, 128), Value: &session.Lanes{Key: q.Key, By: [][]*session.Peer{{q}}}})
				}
			}
		}
		h.worker.Publish(&worker.Tables{Routes: fib.New(routes), MTU: 1420})
	}
}

// set gives h's machine a peer's settings.
func (h *host) set(w *world, c Config) {
	out, err := h.Set(c, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(h, out)
}

func (w *world) clocks() Now { return Now{Mono: w.now, Wall: w.wall.Add(w.now)} }

func (w *world) apply(h *host, effects []Effect) {
	for _, f := range effects {
		p, _ := f.Handle.(*session.Peer)
		switch f.Kind {
		case Send:
			to := f.To
			if !to.IsValid() {
				to = p.Endpoint
			}
			if f.Message[0] == typeInitiation {
				w.initiations++
			}
			h.worker.Do(func() { h.worker.Send(worker.Datagrams{Buf: f.Message, Segment: len(f.Message), Peer: to}) })
		case Install:
			s, err := session.New(p, f.Keys)
			if err != nil {
				w.t.Fatal(err)
			}
			h.worker.Do(func() { h.worker.Install(s, f.Current) })
		case Erase:
			h.worker.Do(func() { h.worker.Erase(f.Local) })
		case Keepalive:
			h.worker.Do(func() { h.worker.Keepalive(p) })
		case Forget:
			h.worker.Do(func() { h.worker.Forget(p) })
		case Move:
			h.worker.Do(func() { p.MoveTo(f.To) })
		}
	}
}

// step lets d pass.
func (w *world) step(d time.Duration) {
	w.now += d
	sort.SliceStable(w.flying, func(i, j int) bool { return w.flying[i].at < w.flying[j].at })
	for len(w.flying) > 0 && w.flying[0].at <= w.now {
		f := w.flying[0]
		w.flying = w.flying[1:]
		for _, h := range w.hosts {
			if h.wan == f.to {
				h.outside.In = append(h.outside.In, f.d)
			}
		}
	}
	for _, h := range w.hosts {
		w.turn(h)
	}
}

func (w *world) turn(h *host) {
	poll := func() {
		for busy := true; busy; {
			busy, _ = h.worker.Poll(w.now)
		}
	}
	poll()
	heard, wanted, proved := h.heard, h.wanted, h.proved
	h.heard, h.wanted, h.proved = nil, nil, nil
	for _, x := range proved {
		w.apply(h, h.Machine.Confirmed(w.clocks(), x.Local, nil))
	}
	for _, p := range wanted {
		w.apply(h, h.Machine.Want(w.clocks(), p.Key, 0, nil))
	}
	for _, x := range heard {
		out, reason := h.Message(w.clocks(), 0, x.from, x.data, h.busy, nil)
		h.reasons[reason]++
		w.apply(h, out)
	}
	w.apply(h, h.Tick(w.clocks(), func(handle any) Activity {
		a := &handle.(*session.Peer).Activity
		return Activity{LastSent: time.Duration(a.LastSent.Load()), LastReceived: time.Duration(a.LastReceived.Load()),
			Unanswered: time.Duration(a.Unanswered.Load()), Owing: time.Duration(a.Owing.Load())}
	}, nil))
	poll()
	for _, d := range h.outside.Out {
		w.all++
		if w.onTheWire != nil && !w.onTheWire(h, d) {
			continue
		}
		copies := 1
		if w.r.Float64() < w.lose {
			copies = 0
		} else if w.r.Float64() < w.double {
			copies = 2
		}
		for range copies {
			at := w.now + w.delay
			if w.reorder > 0 {
				at += time.Duration(w.r.Int64N(int64(w.reorder)))
			}
			w.flying = append(w.flying, flying{at, d.Peer, porttest.Datagram{Data: bytes.Clone(d.Data), Peer: h.wan}})
		}
	}
	h.outside.Out = nil
}

// run lets d pass in small steps.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.step(10 * time.Millisecond)
	}
}

// say gives h a packet for another, with a number in it.
func (w *world) say(h, to *host, n int) {
	p := make([]byte, 60)
	p[0], p[5], p[6], p[7] = 0x60, 20, 59, 64
	copy(p[8:], h.address.AsSlice())
	copy(p[24:], to.address.AsSlice())
	copy(p[40:], fmt.Sprintf("%08d", n))
	h.inside.In = append(h.inside.In, porttest.Packet{Data: p})
}

func keyPair(t testing.TB, seed byte) (private, public Key) {
	private = Key{31: seed << 2}
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		t.Fatal(err)
	}
	return private, Key(k.PublicKey().Bytes())
}

var _ = dataplane.Key{}
