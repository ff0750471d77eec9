package liveness

import (
	"slices"
	"time"

	"dssn"
)

// Timing says when a path is believed dead and when alive again.
type Timing struct {
	// Every is the interval of probes on each path; 0 means 25 ms.
	Every time.Duration
	// Dead is how many probes in a row may stay unanswered; the one sent
	// last has had a whole interval. 0 means 4: a cut is noticed after 100 to
	// 125 ms.
	Dead int
	// Alive is how many answers in a row make a dead path alive again; 0 means 20.
	Alive int
	// Return is how long the preferred path must have been alive before
	// traffic goes back to it; 0 means 3 s.
	Return time.Duration
}

func (t *Timing) defaults() {
	if t.Every == 0 {
		t.Every = 25 * time.Millisecond
	}
	if t.Dead == 0 {
		t.Dead = 4
	}
	if t.Alive == 0 {
		t.Alive = 20
	}
	if t.Return == 0 {
		t.Return = 3 * time.Second
	}
}

// PathTo is one way to a peer and back.
type PathTo struct {
	Carrier, Return dssn.Carrier
}

// Ways are the paths to one peer, in order of preference.
type Ways struct {
	Peer  dssn.SID
	Paths []PathTo
	// Probed is false where no key is shared: such paths are presumed alive.
	Probed bool
}

// PathStatus is what is known of one path.
type PathStatus struct {
	Peer    dssn.SID
	Carrier dssn.Carrier
	Alive   bool
	InUse   bool
	RTT     time.Duration // of the latest answer; 0 before the first
	Since   time.Time     // of the present Alive and InUse
	Sent    uint64        // probes
	Heard   uint64        // answers
}

// Switch says that traffic to a peer moved, or began, and why.
type Switch struct {
	At   time.Time
	Peer dssn.SID
	From dssn.Carrier // zero for the first
	To   dssn.Carrier
	Why  string
	// Silent is how long the path left behind had not answered.
	Silent time.Duration
}

// The reasons of a Switch.
const (
	WhyAssigned = "assigned by the controller"
	WhyDead     = "the path in use went silent"
	WhyBack     = "the preferred path is alive again"
)

// ProbeToSend is an effect.
type ProbeToSend struct {
	Carrier dssn.Carrier
	Probe   Probe
}

// Paths is the machine of probes to all peers of an edge, and chooses the path
// in use to each: the first that is alive, with patience before going back to
// an earlier one. When all are dead it stays where it is.
type Paths struct {
	self   dssn.SID
	timing Timing
	peers  []*peerPaths // by Peer
	lastID uint16       // path numbers, never 0
	last   time.Time    // of the latest Tick
}

type peerPaths struct {
	Ways
	paths []*path
	using *path
}

type path struct {
	PathTo
	id         uint16
	alive      bool
	fresh      bool // has not been dead yet
	since      time.Time
	aliveSince time.Time
	rtt        time.Duration
	sequence   uint32
	answered   uint32 // highest sequence answered
	next       time.Time
	unanswered int // probes sent since the last answer
	inRow      int // answers in a row while dead
	lastHeard  time.Time
	sent       uint64
	heard      uint64
}

// NewPaths returns a machine for the edge self, without peers.
func NewPaths(self dssn.SID, t Timing) *Paths {
	t.defaults()
	return &Paths{self: self, timing: t}
}

// Set replaces peers and paths. What is known of a path that stays is kept. New
// paths are presumed alive until their probes say otherwise. The preferred path,
// the controller's choice, is taken at once unless it is known to be dead, or is
// new while traffic has another path that works: then with its first answer,
// because the nodes on it may not have their routes yet.
func (p *Paths) Set(now time.Time, ways []Ways) (moved []Switch) {
	old := p.peers
	p.peers = make([]*peerPaths, 0, len(ways))
	for _, w := range ways {
		pp := &peerPaths{Ways: w}
		var before *peerPaths
		if i := slices.IndexFunc(old, func(o *peerPaths) bool { return o.Peer == w.Peer }); i >= 0 {
			before = old[i]
		}
		for _, to := range w.Paths {
			pp.paths = append(pp.paths, p.keep(now, before, to))
		}
		if before != nil && before.using != nil {
			if i := slices.IndexFunc(pp.paths, func(x *path) bool { return x.Carrier == before.using.Carrier }); i >= 0 {
				pp.using = pp.paths[i]
			}
		}
		choice := pp.best()
		if choice == nil && pp.using == nil && len(pp.paths) > 0 {
			choice = pp.paths[0]
		}
		if choice != nil && choice != pp.using {
			s := Switch{At: now, Peer: w.Peer, To: choice.Carrier, Why: WhyAssigned}
			if before != nil && before.using != nil {
				s.From = before.using.Carrier
			}
			pp.use(now, choice)
			moved = append(moved, s)
		}
		p.peers = append(p.peers, pp)
	}
	return moved
}

// keep finds what is known of a path, or begins it.
func (p *Paths) keep(now time.Time, before *peerPaths, to PathTo) *path {
	if before != nil {
		for _, x := range before.paths {
			if x.PathTo == to {
				return x
			}
		}
	}
	if p.lastID++; p.lastID == 0 {
		p.lastID = 1
	}
	return &path{PathTo: to, id: p.lastID, alive: true, fresh: true, since: now, aliveSince: now, next: now, lastHeard: now}
}

// best returns the path that traffic should take: the first that is alive and
// has answered before or is in use; if there is none, the first presumed alive;
// nil if all are dead.
func (pp *peerPaths) best() (presumed *path) {
	for _, x := range pp.paths {
		switch {
		case !x.alive:
		case x.heard > 0 || x == pp.using || !pp.Probed:
			return x
		case presumed == nil:
			presumed = x
		}
	}
	return presumed
}

func (pp *peerPaths) use(now time.Time, x *path) {
	if pp.using != nil {
		pp.using.since = now
	}
	x.since = now
	pp.using = x
}

// Answered takes an authenticated answer. It reports whether the path came
// alive by it.
func (p *Paths) Answered(now time.Time, a Probe) (changed bool) {
	for _, pp := range p.peers {
		if pp.Peer != a.From {
			continue
		}
		for _, x := range pp.paths {
			// Sequence numbers count from one; an answer counts once, and not
			// after a later one did.
			if x.id != a.Path || a.Sequence <= x.answered || a.Sequence > x.sequence {
				continue
			}
			x.answered = a.Sequence
			x.unanswered = int(x.sequence - a.Sequence)
			x.lastHeard = now
			x.heard++
			if rtt := now.UnixNano() - int64(a.Sent); rtt > 0 {
				x.rtt = time.Duration(rtt)
			}
			if x.alive {
				return false
			}
			if x.inRow++; x.inRow < p.timing.Alive {
				return false
			}
			x.alive, x.since, x.aliveSince = true, now, now
			return true
		}
	}
	return false
}

// Tick returns the probes that are due, the moves of traffic, and whether any
// path's state changed. It is called at least every Timing.Every; probes not
// sent because this node slept are not held against a path.
func (p *Paths) Tick(now time.Time) (send []ProbeToSend, moved []Switch, changed bool) {
	for _, pp := range p.peers {
		if pp.Probed {
			for _, x := range pp.paths {
				if now.Before(x.next) {
					continue
				}
				changed = x.miss(now, p.timing) || changed
				send = append(send, p.ask(now, pp, x))
			}
		}
		if s, ok := p.choose(now, pp); ok {
			moved = append(moved, s)
			changed = true
		}
	}
	return send, moved, changed
}

// neverHeard is how many probes a path that has not answered once may take: its
// round trip is not known yet.
const neverHeard = 40

// miss judges a path when its next probe is due. Probes that can still be on
// their way, by the latest round trip, are not missed.
func (x *path) miss(now time.Time, t Timing) (died bool) {
	missed := x.unanswered - int(x.rtt/t.Every)
	if missed > 1 {
		x.inRow = 0
	}
	allowed := t.Dead
	if x.heard == 0 {
		allowed = max(neverHeard, t.Dead)
	}
	if x.alive && missed >= allowed {
		x.alive, x.fresh, x.since = false, false, now
		return true
	}
	return false
}

func (p *Paths) ask(now time.Time, pp *peerPaths, x *path) ProbeToSend {
	x.sequence++
	x.sent++
	x.unanswered++
	if x.next = x.next.Add(p.timing.Every); x.next.Before(now) {
		x.next = now.Add(p.timing.Every)
	}
	return ProbeToSend{x.Carrier, Probe{From: p.self, To: pp.Peer, Path: x.id, Sequence: x.sequence, Sent: uint64(now.UnixNano()), Return: x.Return}}
}

// choose moves traffic off a dead path, to a new and better one that has answered,
// and back to a better one that has been alive for a while.
func (p *Paths) choose(now time.Time, pp *peerPaths) (Switch, bool) {
	best := pp.best()
	if best == nil || best == pp.using {
		return Switch{}, false
	}
	s := Switch{At: now, Peer: pp.Peer, To: best.Carrier}
	switch {
	case pp.using == nil:
		s.Why = WhyAssigned
	case !pp.using.alive:
		s.Why, s.From, s.Silent = WhyDead, pp.using.Carrier, now.Sub(pp.using.lastHeard)
	case best.fresh:
		s.Why, s.From = WhyAssigned, pp.using.Carrier
	case now.Sub(best.aliveSince) < p.timing.Return:
		return Switch{}, false
	default:
		s.Why, s.From = WhyBack, pp.using.Carrier
	}
	pp.use(now, best)
	return s, true
}

// Status returns every path of every peer.
func (p *Paths) Status() (out []PathStatus) {
	for _, pp := range p.peers {
		for _, x := range pp.paths {
			out = append(out, PathStatus{pp.Peer, x.Carrier, x.alive, x == pp.using, x.rtt, x.since, x.sent, x.heard})
		}
	}
	return out
}
