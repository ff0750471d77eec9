// Package worker carries packets between an inside and an outside port: it is
// the loop that a node's CPU time goes to.
//
// A Worker is one goroutine's. Poll takes what its ports have, a batch in each
// direction, through every stage to the other port:
//
//	outbound  receive → parse → route → police → seal → send
//	inbound   receive → parse → open → check source → count → join → deliver
//
// It reads the clock and the tables once per Poll, and waits for nothing: no
// channel, no lock, no allocation and no copy of its own but the one that cuts
// a large packet into small ones. What needs thought (handshakes, timers) is
// handed to Control; the answers come back through Do.
package worker

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/meter"
	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// Control hears what is not a packet's business. It is called by the worker
// and must return at once.
type Control interface {
	// Handshake hands over a message of type 1, 2 or 3, borrowed until it
	// returns. False says there was no room for it.
	Handshake(message []byte, from netip.AddrPort) bool
	// Want asks for a new session with p.
	Want(p *session.Peer)
	// Confirmed says that the other side uses s: it has become p's current one.
	Confirmed(s *session.Session)
}

// Options describe a worker. All fields are required.
type Options struct {
	// Number tells the workers of an engine apart, from 0.
	Number  int
	Inside  Inside
	Outside Outside
	Control Control
	// Wake makes the goroutine that calls Poll call it again soon; Do uses it
	// from any goroutine.
	Wake func()
}

// Worker is a packet loop's state. Its methods belong to the goroutine that
// polls, but for Publish, Do and Drops.
type Worker struct {
	number  int
	inside  Inside
	outside Outside
	control Control
	wake    func()
	tables  atomic.Pointer[Tables]
	drops   drops

	mailbox struct {
		sync.Mutex
		full   atomic.Bool // lets the worker see without the lock that nothing is there
		closed bool
		calls  []func()
	}

	now      time.Duration
	sessions map[uint32]*session.Session
	seen     *Tables        // of the flows that are remembered
	holding  []*meter.Share // with tokens that are not used yet

	// Outbound.
	in      []byte // one inside packet as received
	cut     packet.Cut
	out     []byte // sealed packets, one after the other
	end     int    // of what is in out
	sealed  []outgoing
	seals   []aead.Job
	sends   []Datagrams
	outFlow flow
	mark    dataplane.Mark // of what is being placed; zero between packets
	waiting int            // packets in all peers' Waiting

	// Packet Too Big towards the inside.
	tellAt time.Duration // not before
	icmp   [packet.TooBigLen]byte
	parts  [1][]byte

	fast *fast // ports of frames; nil: none

	// Inbound.
	slots   []Datagrams
	slotBuf [slots][]byte
	opened  []incoming
	opens   []aead.Job
	last    *session.Session // of the previous packet
	handed  handed           // where the handshake message came to
	inFlow  flow
	counter *meter.Counter // of inFlow's meter
	join    packet.Join
	count   tally
}

// handed says where a message came to.
type handed struct {
	local  netip.Addr
	shared bool
}

// outgoing is a packet in out.
type outgoing struct {
	off, len int // of the message
	session  *session.Session
	data     bool // not a keepalive
	mark     dataplane.Mark
}

// incoming is a transport message whose job is in opens.
type incoming struct {
	session *session.Session
	counter uint64
	slot    *Datagrams
	frame   *Frame // or in a frame
}

// New returns a worker with empty tables.
func New(o Options) *Worker {
	w := &Worker{
		number: o.Number, inside: o.Inside, outside: o.Outside, control: o.Control, wake: o.Wake,
		sessions: make(map[uint32]*session.Session),
		in:       make([]byte, MaxPacket+packet.OffloadLen),
		out:      make([]byte, outLen),
		sealed:   make([]outgoing, 0, 1024),
		seals:    make([]aead.Job, 0, 1024),
		sends:    make([]Datagrams, 0, 1024),
		slots:    make([]Datagrams, slots),
		opened:   make([]incoming, 0, 1024),
		opens:    make([]aead.Job, 0, 1024),
		holding:  make([]*meter.Share, 0, 256),
	}
	w.join.Parts = make([][]byte, 0, 128)
	for i := range w.slotBuf {
		w.slotBuf[i] = make([]byte, slotLen)
	}
	w.Publish(&Tables{})
	return w
}

// Publish puts t in force for the next Poll.
func (w *Worker) Publish(t *Tables) { w.tables.Store(t) }

// Do has f called by the worker between two batches, or never if the worker has
// stopped. Any goroutine may call it.
func (w *Worker) Do(f func()) {
	w.mailbox.Lock()
	if !w.mailbox.closed {
		w.mailbox.calls = append(w.mailbox.calls, f)
		w.mailbox.full.Store(true)
	}
	w.mailbox.Unlock()
	w.wake()
}

// HandedTo is our address that the message came to which Control.Handshake is
// being given, and whether it came to the port that all workers share; the answer is to
// leave from there.
func (w *Worker) HandedTo() (local netip.Addr, shared bool) { return w.handed.local, w.handed.shared }

// Stop says that nobody will call Poll any more.
func (w *Worker) Stop() {
	w.mailbox.Lock()
	w.mailbox.closed, w.mailbox.calls = true, nil
	w.mailbox.Unlock()
}

// Poll carries what is there now and reports whether anything was. Now is the
// time since the engine was opened. The error is the inside port's last.
func (w *Worker) Poll(now time.Duration) (busy bool, err error) {
	w.now = now
	if w.mailbox.full.Load() {
		w.answer()
	}
	t := w.tables.Load()
	if t != w.seen {
		w.seen, w.outFlow, w.inFlow = t, flow{}, flow{}
	}
	sent, err := w.outbound(t)
	received := w.inbound(t)
	if w.fast != nil {
		sent = w.framesOutbound(t) || sent
		received = w.framesInbound(t) || received
	}
	if !sent {
		w.rest()
	}
	return sent || received, err
}

func (w *Worker) answer() {
	w.mailbox.Lock()
	calls := w.mailbox.calls
	w.mailbox.calls = nil
	w.mailbox.full.Store(false)
	w.mailbox.Unlock()
	for _, f := range calls {
		f()
	}
}
