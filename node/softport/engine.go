// Package softport runs the packet worker where there is no AF_XDP: a TUN
// interface with segmentation offload inside, a UDP socket with GSO and GRO
// outside. An Engine puts worker and tunnel machine together; it stands behind
// dataplane.Engine, and behind `dssn wg` as a drop-in for wireguard-go.
//
// It makes the TUN and sets no address and no route. All methods of Engine may
// be called from any goroutine.
package softport

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/fib"
	"dssn/dataplane/meter"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
	"dssn/node/tunnel"
	"dssn/xdp"
)

// Options describe an engine.
type Options struct {
	// Interface is the TUN's name; a %d in it becomes a free number.
	Interface string
	// TUN, if not nil, is an interface that CreateTUN made; Interface is not used.
	TUN *os.File
	// MTU in bytes; zero leaves the interface's own, or 1420 if it is made here.
	MTU int
	// PrivateKey is this node's tunnel key. Zero means that it will come.
	PrivateKey dataplane.Key
	// ListenPort is the UDP port of the first worker, zero for any free one.
	ListenPort uint16
	// Ports are those of further workers, one for each; zero gives a worker none of its
	// own, so that it carries stock peers only, by the first worker's port.
	Ports []uint16
	// Plain makes it a WireGuard interface: no meters, peers may roam, and the
	// link is not brought up.
	Plain bool
	// Suite seals the sessions of peers that name none; zero means
	// ChaCha20-Poly1305.
	Suite aead.Suite
	// Frames names links whose frames the first worker carries by AF_XDP.
	Frames FrameLinks
	// Counters says where the counter of a reservation lives; see
	// meter.Registry.KeepIn. Nil means on the heap.
	Counters func(reservation dssn.ReservationID, worker int) *meter.Counter
	// Logger hears of handshakes; nil means nobody does.
	Logger *slog.Logger
}

// CreateTUN makes a TUN interface for an engine of this or another process.
func CreateTUN(name string) (*os.File, error) { return createTUN(name, false) }

// Engine carries packets with one worker or several.
type Engine struct {
	options  Options
	begun    time.Time
	log      *slog.Logger
	threads  []*thread   // at least one; fixed
	noQueues error       // why there is no choosing of queues; fixed
	asker    *asker      // the control goroutine's, once it runs
	frames   *frameState // nil: none; fixed
	registry *meter.Registry
	control  *control
	done     chan struct{}
	close    sync.Once

	endMu sync.Mutex // guards what follows
	alive int        // threads that have not ended
	why   error      // that the first ended for

	// What follows belongs to the control goroutine.
	machine *tunnel.Machine
	private dataplane.Key
	mark    uint32
	port    uint16
	mtu     int
	peers   map[dataplane.Key]*entry
	order   []dataplane.Key
	tables  *dataplane.Tables
	meters  *meter.Set
	queues  *xdp.Queues // nil with one worker, and where the host cannot
	stock   []int       // how many stock peers each worker has
}

// entry is a configured peer.
type entry struct {
	dataplane.Peer
	lanes []*lane // at least one
}

// lane is one way to a peer.
type lane struct {
	*session.Peer
	path pathState
}

var _ dataplane.Engine = (*Engine)(nil)

// Open makes the interface, binds the port and starts to carry packets, all in
// the namespace of the calling thread.
func Open(o Options) (*Engine, error) {
	if n := 1 + len(o.Ports); n > session.MaxWorkers {
		return nil, fmt.Errorf("open an engine with %d workers: it has at most %d", n, session.MaxWorkers)
	}
	if o.TUN == nil {
		if o.MTU == 0 {
			o.MTU = 1420
		}
		var err error
		if o.TUN, err = createTUN(o.Interface, len(o.Ports) > 0); err != nil {
			return nil, err
		}
	}
	if o.Suite == 0 {
		o.Suite = aead.ChaCha20Poly1305
	}
	e := &Engine{
		options: o, begun: time.Now(), log: o.Logger,
		registry: meter.NewRegistry(1 + len(o.Ports)),
		done:     make(chan struct{}),
		peers:    make(map[dataplane.Key]*entry),
		tables:   &dataplane.Tables{},
		stock:    make([]int, 1+len(o.Ports)),
	}
	e.registry.KeepIn(o.Counters)
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.control = newControl(e)
	if err := e.openPorts(); err != nil {
		e.closePorts()
		return nil, err
	}
	for _, t := range e.threads {
		go e.run(t)
	}
	go e.control.run()
	if o.PrivateKey != (dataplane.Key{}) {
		var err error
		e.control.do(func() { err = e.setPrivateKey(o.PrivateKey) })
		if err != nil {
			e.Close()
			return nil, err
		}
	}
	e.control.do(e.compile)
	return e, nil
}

func (e *Engine) openPorts() error {
	for i, port := range append([]uint16{e.options.ListenPort}, e.options.Ports...) {
		if err := e.openThread(i, port); err != nil {
			return err
		}
	}
	first := e.threads[0]
	if len(e.threads) > 1 {
		if err := first.socket.steer(); err != nil {
			return err
		}
	}
	if e.options.MTU != 0 {
		if err := first.link.setMTU(e.options.MTU); err != nil {
			return err
		}
	}
	var err error
	if e.mtu, err = first.link.mtu(); err != nil {
		return err
	}
	if !e.options.Plain {
		if err := first.link.up(); err != nil {
			return err
		}
	}
	if e.asker, err = openAsker(); err != nil {
		return err
	}
	e.openQueues()
	if e.options.Plain && e.noQueues != nil {
		return fmt.Errorf("%w; with one worker there is nothing to choose", e.noQueues)
	}
	if err := e.attachFrames(); err != nil {
		return err
	}
	e.port, e.alive = first.socket.port, len(e.threads)
	return nil
}

func (e *Engine) closePorts() {
	if e.queues != nil {
		e.queues.Close()
	}
	if e.frames != nil {
		e.frames.close()
	}
	for _, t := range e.threads {
		t.close()
	}
	if e.asker != nil {
		e.asker.close()
	}
}

// Name returns the interface's name.
func (e *Engine) Name() string { return e.threads[0].link.name }

// Done is closed when the engine has stopped by itself or by Close; Err says why.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err returns why the engine stopped, nil after Close. Call it after Done.
func (e *Engine) Err() error {
	if errors.Is(e.why, errStopped) {
		return nil
	}
	return e.why
}

// Close implements dataplane.Engine.
func (e *Engine) Close() error {
	e.close.Do(func() {
		e.control.stop()
		for _, t := range e.threads {
			t.stop()
		}
		<-e.done
		e.closePorts()
	})
	return nil
}

// setPrivateKey begins anew with another key: sessions made with the old one end.
func (e *Engine) setPrivateKey(k dataplane.Key) error {
	if k == e.private {
		return nil
	}
	var m *tunnel.Machine
	if k != (dataplane.Key{}) {
		var err error
		if m, err = tunnel.New(k, rand.Reader); err != nil {
			return err
		}
	}
	if e.machine != nil {
		for _, p := range e.order {
			e.control.carryOut(e.machine.Remove(p, nil))
		}
	}
	e.machine, e.private = m, k
	e.control.setGates(m)
	for _, p := range e.order {
		if err := e.tell(e.peers[p]); err != nil {
			e.log.Warn("peer not usable", "error", err)
		}
	}
	return nil
}

// tell gives the machine a peer's settings.
func (e *Engine) tell(p *entry) error {
	if e.machine == nil {
		return nil
	}
	suite := p.Suite
	if suite == 0 {
		suite = e.options.Suite
	}
	c := tunnel.Config{Key: p.Key, PresharedKey: p.PresharedKey, Keepalive: p.Keepalive, Roams: e.options.Plain, Suite: suite}
	for i, l := range p.lanes {
		c.Lanes = append(c.Lanes, tunnel.Lane{Worker: l.Worker, Endpoint: p.endpointOf(i), Handle: l.Peer})
	}
	effects, err := e.machine.Set(c, nil)
	e.control.carryOut(effects)
	return err
}

// put adds or changes a peer.
func (e *Engine) put(p dataplane.Peer) error {
	n, old := &entry{Peer: p}, e.peers[p.Key]
	var was []*lane
	if old != nil {
		was = old.lanes
	}
	for i := range max(1, len(p.Lanes)) {
		worker, part := e.laneWorker(old, &p, i), n.partOf(i)
		if i < len(was) && was[i].Worker == worker && was[i].Shared == (len(p.Lanes) == 0) {
			n.lanes = append(n.lanes, was[i])
			if l := was[i].Peer; part != old.partOf(i) {
				e.threads[worker].worker.Do(func() { l.Part = part })
			}
			continue
		}
		n.lanes = append(n.lanes, &lane{Peer: &session.Peer{Key: p.Key, Lane: i, Worker: worker, Part: part, Roams: e.options.Plain, Shared: len(p.Lanes) == 0,
			Path: session.Path{Probes: !e.options.Plain}}})
	}
	if err := e.tell(n); err != nil {
		return err
	}
	for i, l := range n.lanes {
		to := n.endpointOf(i)
		switch {
		case !to.IsValid():
		case i >= len(was) || was[i] != l:
			l.MoveTo(to) // no worker knows it yet
		case to != old.endpointOf(i):
			e.threads[l.Worker].worker.Do(func() { l.MoveTo(to) })
		}
	}
	e.recount(old, -1)
	e.recount(n, 1)
	if old == nil {
		e.peers[p.Key] = n
		e.order = append(e.order, p.Key)
		return nil
	}
	*old = *n
	return nil
}

// partOf is which part of divided meters lane i is on.
func (p *entry) partOf(i int) int {
	if i < len(p.Lanes) {
		return p.Lanes[i].Part
	}
	return 0
}

// endpointOf is where lane i of a peer was configured to be.
func (p *entry) endpointOf(i int) netip.AddrPort {
	if i < len(p.Lanes) {
		return p.Lanes[i].Endpoint
	}
	return p.Endpoint
}

// drop forgets a peer.
func (e *Engine) drop(k dataplane.Key) {
	if e.peers[k] == nil {
		return
	}
	if e.machine != nil {
		e.control.carryOut(e.machine.Remove(k, nil))
	}
	e.recount(e.peers[k], -1)
	delete(e.peers, k)
	for i, o := range e.order {
		if o == k {
			e.order = append(e.order[:i:i], e.order[i+1:]...)
			break
		}
	}
}

// compile makes the worker's tables from the peers and publishes them.
func (e *Engine) compile() {
	var routes []fib.Entry[*session.Lanes]
	for _, k := range e.order {
		p := e.peers[k]
		lanes := &session.Lanes{Key: k, By: make([][]*session.Peer, len(e.threads))}
		for _, l := range p.lanes {
			lanes.By[l.Worker] = append(lanes.By[l.Worker], l.Peer)
		}
		for _, a := range p.Allowed {
			routes = append(routes, fib.Entry[*session.Lanes]{Prefix: a, Value: lanes})
		}
	}
	if !e.options.Plain && e.meters == nil {
		e.meters = e.registry.Compile(e.now(), nil)
	}
	e.pin()
	e.directFrames()
	tables := &worker.Tables{Routes: fib.New(routes), Meters: e.meters, MTU: e.mtu}
	for _, t := range e.threads {
		t.worker.Publish(tables)
	}
}

// Publish implements dataplane.Engine. Sessions with peers that stay go on.
func (e *Engine) Publish(t *dataplane.Tables) error {
	if err := t.Check(); err != nil {
		return err
	}
	if err := e.checkLanes(t.Peers); err != nil {
		return fmt.Errorf("publish tables %d: %w", t.Generation, err)
	}
	var err error
	if !e.control.do(func() { err = e.publish(t) }) {
		return fmt.Errorf("publish tables %d: the engine on %s is closed", t.Generation, e.Name())
	}
	return err
}

func (e *Engine) publish(t *dataplane.Tables) error {
	for _, p := range t.Peers {
		if err := tunnel.CheckKey(p.Key, e.private); err != nil {
			return fmt.Errorf("publish tables %d: %w", t.Generation, err)
		}
	}
	keep := make(map[dataplane.Key]bool, len(t.Peers))
	for _, p := range t.Peers {
		keep[p.Key] = true
		if err := e.put(p); err != nil {
			return fmt.Errorf("publish tables %d: %w", t.Generation, err)
		}
	}
	var leave []dataplane.Key
	for _, k := range e.order {
		if !keep[k] {
			leave = append(leave, k)
		}
	}
	gone := make([]*entry, len(leave))
	for i, k := range leave {
		gone[i] = e.peers[k]
	}
	e.tables = t
	e.meters = e.registry.Compile(e.now(), t.Meters)
	// The new tables route nothing to those that leave; their sessions end after.
	order := e.order
	e.order = make([]dataplane.Key, 0, len(order))
	for _, k := range order {
		if keep[k] {
			e.order = append(e.order, k)
		}
	}
	e.compile()
	e.order = order
	for _, p := range gone {
		e.drop(p.Key)
	}
	e.control.letTimePass() // a peer that is kept alive is called at once
	return nil
}

// Counts implements dataplane.Engine.
func (e *Engine) Counts(dst []dataplane.Count) []dataplane.Count { return e.registry.Counts(dst) }

// Peers implements dataplane.Engine.
func (e *Engine) Peers(dst []dataplane.PeerState) []dataplane.PeerState {
	e.control.do(func() {
		for _, k := range e.order {
			p := e.peers[k]
			s := dataplane.PeerState{Key: k, Lanes: len(p.lanes)}
			s.SentBytes, s.ReceivedBytes = p.bytes()
			if e.machine != nil {
				m := e.machine.State(k)
				s.LastHandshake, s.Suite, s.Open = m.LastHandshake, m.Suite, m.Open
			}
			dst = append(dst, s)
		}
	})
	return dst
}

// Drops implements dataplane.Engine.
func (e *Engine) Drops() map[string]uint64 {
	m := make(map[string]uint64)
	for _, t := range e.threads {
		t.worker.Drops(m)
	}
	e.control.drops(m)
	return m
}

// Obtained implements dataplane.Engine.
func (e *Engine) Obtained() dataplane.Obtained {
	o := dataplane.Obtained{
		Engine:  "run-to-completion worker",
		Inside:  "TUN " + e.Name() + " with segmentation offload",
		Outside: "UDP socket",
		Workers: len(e.threads),
	}
	first := e.threads[0]
	if o.Workers > 1 {
		o.Engine = fmt.Sprintf("%d run-to-completion workers", o.Workers)
		o.Outside = fmt.Sprintf("%d UDP ports", e.ownPorts())
	}
	if first.link.udp {
		o.Inside += " for TCP and UDP"
	}
	if e.frames != nil {
		o.Outside += ", " + e.frames.String() + "; ordinary port"
	}
	e.control.do(func() {
		o.MTU = e.mtu
		o.PresharedKey = len(e.peers) > 0
		o.Cipher = e.ciphers()
		for _, p := range e.peers {
			if p.PresharedKey == (dataplane.Key{}) {
				o.PresharedKey = false
			}
		}
		switch gso := first.socket.gso.Load(); {
		case gso && first.socket.gro:
			o.Outside += " with GSO/GRO"
		case first.socket.gro:
			o.Outside += " with GRO"
		case gso:
			o.Outside += " with GSO"
		}
	})
	return o
}

// ciphers names the suites in use and how they are computed.
func (e *Engine) ciphers() string {
	names := []string{}
	for _, k := range e.order {
		if s := e.peers[k].Suite; s != 0 && !slices.Contains(names, s.String()) {
			names = append(names, s.String())
		}
	}
	if len(names) == 0 {
		names = append(names, e.options.Suite.String())
	}
	slices.Sort(names)
	return strings.Join(names, ", ") + " (" + aead.Path() + ")"
}

// endpoint is where a peer is now.
func (p *entry) endpoint() netip.AddrPort {
	if a := p.lanes[0].Where(); a.IsValid() {
		return a
	}
	return p.endpointOf(0)
}

// bytes are those of all lanes.
func (p *entry) bytes() (sent, received uint64) {
	for _, l := range p.lanes {
		sent += l.SentBytes.Load()
		received += l.ReceivedBytes.Load()
	}
	return sent, received
}
