package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/topology/paths"
	"dssn/topology/solve"
)

// backgroundFloor is what an implicit reservation is shared out before anybody's
// ceiling, as far as its links have it: without it a terminal whose access link
// is filled by ceilings could not even ask.
const backgroundFloor = 1 * dssn.Mbps

// flow is traffic that a grant permits, in one direction.
type flow struct {
	ingress, egress *Node
	from, to        netip.Prefix
	data            dssn.DataID // zero for traffic of the nodes themselves
	payer           string
	weight          int // in sharing what is left
}

// relation is a consumer that may reach datasets at a holder.
type relation struct {
	holder, consumer *Node
	dataset          *northbound.Dataset
	grant            *northbound.Grant
	until            time.Time // the grant's, as it was
}

// relations lists what the grants in force permit, in the order of identifiers
// and names: each dataset from its source (see source) to each terminal of each
// party. It walks over grants, not over all pairs of datasets and nodes.
func (c *Core) relations() (out []relation) {
	terminals := map[string][]*Node{} // by institution; "" has all
	for _, n := range c.s.Nodes {
		if n.Role == southbound.RoleTerminal && n.Hub != "" {
			terminals[n.Institution] = append(terminals[n.Institution], n)
			terminals[""] = append(terminals[""], n)
		}
	}
	seen := map[reach]int{}
	for _, g := range c.s.Grants {
		if !g.Ended.IsZero() {
			continue
		}
		for _, d := range c.covered(g.Data) {
			for _, n := range terminals[g.To] { // all for a role, whose To is empty
				if !c.permits(g, n, d.Record.ID) {
					continue
				}
				k := reach{d.Record.ID, n.Name}
				if i, known := seen[k]; !known {
					seen[k] = len(out)
					out = append(out, relation{consumer: n, dataset: d, grant: g})
				} else if outlasts(g, out[i].grant) {
					out[i].grant = g
				}
			}
		}
	}
	out = slices.DeleteFunc(out, func(r relation) bool { return c.frozen(r.consumer, r.dataset.Record.ID) != nil })
	slices.SortFunc(out, func(a, b relation) int {
		return cmp.Or(a.dataset.Record.ID.Compare(b.dataset.Record.ID), cmp.Compare(a.consumer.Name, b.consumer.Name))
	})
	kept := out[:0]
	for _, r := range out {
		r.until = untilOf(r.grant)
		if r.holder = c.source(r.dataset, r.consumer); r.holder != nil && r.holder.Hub != "" {
			kept = append(kept, r)
		}
	}
	return kept
}

// untilOf is how long a grant that has effect now will have it: to its end, or to
// the end of its window.
func untilOf(g *northbound.Grant) time.Time {
	if !g.Edge.IsZero() && g.Edge.Before(g.Until) {
		return g.Edge
	}
	return g.Until
}

// covered returns the datasets in a prefix, in no order.
func (c *Core) covered(p netip.Prefix) (out []*northbound.Dataset) {
	if p.Bits() == 128 {
		if d := c.s.Datasets[dssn.DataIDFrom16(p.Addr().As16())]; d != nil {
			out = append(out, d)
		}
		return out
	}
	for id, d := range c.s.Datasets {
		if p.Contains(id.Addr()) {
			out = append(out, d)
		}
	}
	return out
}

// reach is a dataset at a terminal that may fetch it.
type reach struct {
	data dssn.DataID
	node string
}

// source returns the holder from which n gets d: the one of n's contract while
// it holds d and can be reached, else the nearest. nil where there is none.
func (c *Core) source(d *northbound.Dataset, n *Node) *Node {
	if r := c.pinning(reach{d.Record.ID, n.Name}); r != nil && slices.Contains(d.Holders, r.Ingress) {
		name := r.Ingress
		if _, ok := c.distance(name, n.Name); ok && c.s.Nodes[name] != nil {
			return c.s.Nodes[name]
		}
	}
	return c.holderFor(d, n)
}

// pinning returns the contract or hold that decides from where data comes to a
// terminal: of several, whose windows do not overlap, the first.
func (c *Core) pinning(at reach) (first *Reservation) {
	for _, id := range c.tally.booked[at] {
		if r := c.s.Reservations[id]; first == nil || r.Start.Before(first.Start) {
			first = r
		}
	}
	return first
}

// follow moves contracts whose holder went away to the source that took its
// place, if what is committed fits there. Where it does not, the contract stays
// as it is, degraded, and what comes from the new source is background traffic.
func (x *step) follow() {
	sources := map[reach]*Node{}
	for _, r := range x.rel {
		sources[reach{r.dataset.Record.ID, r.consumer.Name}] = r.holder
	}
	for _, id := range slices.Clone(x.tally.open) {
		r := x.s.Reservations[id]
		h := sources[reach{r.Data, r.Egress}]
		if !booked(r) || h == nil || h.Name == r.Ingress {
			continue
		}
		// All that it is promised, from now on, has to fit on the way from there.
		next := *r
		next.Ingress = h.Name
		cl := &claim{ingress: h.Name, egress: r.Egress, skip: r.ID, fixed: profileOf(r)}
		p, delay, err := x.admit(cl, 0, &next, wording{})
		if err != nil || r.DelayBound > 0 && delay > r.DelayBound {
			continue
		}
		x.event("contract-moved", r.Egress, r.ID, "the data of %s now comes from %s instead of %s, and its bandwidth with it", r.ID, h.Name, r.Ingress)
		x.touch(r)
		r.Ingress = h.Name
		x.takePath(r.Ingress, r.Egress, p)
		x.touch(r)
	}
}

// flows lists the permitted flows: for every relation the data and the requests
// for it, and the traffic of both nodes themselves.
func flows(rel []relation) (out []flow) {
	host := func(n *Node) netip.Prefix { return netip.PrefixFrom(n.Node.Addr(), 128) }
	seen := map[string]bool{}
	for _, r := range rel {
		id := r.dataset.Record.ID
		out = append(out,
			flow{r.holder, r.consumer, id.Prefix(), host(r.consumer), id, r.consumer.Institution, defaultPriority},
			flow{r.consumer, r.holder, host(r.consumer), id.Prefix(), id, r.consumer.Institution, 1})
		if key := pairKey(r.holder.Name, r.consumer.Name); !seen[key] && !seen[pairKey(r.consumer.Name, r.holder.Name)] {
			seen[key] = true
			out = append(out,
				flow{r.holder, r.consumer, host(r.holder), host(r.consumer), dssn.DataID{}, r.consumer.Institution, 1},
				flow{r.consumer, r.holder, host(r.consumer), host(r.holder), dssn.DataID{}, r.consumer.Institution, 1})
		}
	}
	return out
}

// implicitID names the background reservation of a flow; the same flow always
// has the same one.
func implicitID(f flow) dssn.ReservationID {
	sum := sha256.Sum256([]byte("dssn background " + f.from.String() + " " + f.to.String()))
	return dssn.ReservationID(binary.BigEndian.Uint64(sum[:8]) | 1) // never zero
}

// reconcileNow does at once what the end of the step would, for a caller whose
// answer depends on it.
func (x *step) reconcileNow() {
	if x.relink {
		x.rebuild()
	}
	x.reconcile()
	x.relink, x.regrant, x.replan = false, false, false
}

// reconcile brings everything that follows from the state up to date: implicit
// reservations, paths, shares, assignments.
func (x *step) reconcile() {
	if x.graph == nil {
		return
	}
	if x.rebuilt || x.regrant {
		for _, r := range x.rel {
			x.touchNode(r.holder.Name)
			x.touchNode(r.consumer.Name)
		}
		x.setRelations(x.relations())
		for _, r := range x.rel {
			x.touchNode(r.holder.Name)
			x.touchNode(r.consumer.Name)
		}
		x.follow()
		x.implicit(flows(x.rel))
		x.endUnpermitted()
	}
	x.ensurePairs()
	x.share()
	x.assign()
	x.rebuilt, x.touched, x.moved, x.moves = false, nil, nil, false
}

// ensurePairs looks after the pairs that need it: those without a path or with
// a fault, those just moved, and all of them when the graph is new. Others keep
// what they have, for nothing is admitted at their cost.
func (x *step) ensurePairs() {
	keys := map[string]bool{}
	for key := range x.pairsChanged {
		keys[key] = true
	}
	for key := range x.tally.faulty {
		keys[key] = true
	}
	for key := range x.moved {
		keys[key] = true
	}
	if x.rebuilt {
		for key := range x.tally.members {
			keys[key] = true
		}
	}
	var p *promises
	for _, key := range sortedKeys(keys) {
		if x.tally.members[key] == 0 {
			delete(x.s.Pairs, key)
			delete(x.tally.faulty, key)
			continue
		}
		pair := x.s.Pairs[key]
		if pair != nil && pair.Path != nil && pair.Fault == "" && !x.rebuilt && !x.moved[key] {
			continue
		}
		if p == nil {
			p = x.syncPromises()
		}
		ingress, egress, _ := strings.Cut(key, ">")
		if !x.ensurePair(p, ingress, egress, false) && !x.placeRest(p, key) {
			x.pack() // not everything fits any more: somebody has to give way
			break
		}
	}
	x.hurry()
	if x.rebuilt || x.moves || x.moved != nil {
		x.checkDelays()
	}
	clear(x.pairsChanged)
}

// implicit gives every permitted flow its background reservation, and ends
// those of flows that are no longer permitted.
func (x *step) implicit(fl []flow) {
	wanted := map[dssn.ReservationID]bool{}
	for _, f := range fl {
		id := implicitID(f)
		if wanted[id] {
			continue
		}
		wanted[id] = true
		r := x.s.Reservations[id]
		if r == nil {
			r = &Reservation{}
			x.s.Reservations[id] = r
		}
		was := *r
		if !live(r) || r.Ingress != f.ingress.Name || r.Egress != f.egress.Name {
			r.Reservation = northbound.Reservation{
				ID: id, State: northbound.StateActive, Implicit: true, Data: f.data, Institution: f.payer,
				Ingress: f.ingress.Name, Egress: f.egress.Name, From: f.from, To: f.to,
				Class: dssn.ClassBackground, Priority: f.weight, Created: x.now,
			}
		}
		r.Ceiling = min(f.ingress.Access, f.egress.Access)
		if was.State != r.State || was.Ceiling != r.Ceiling || was.Ingress != r.Ingress || was.Egress != r.Egress {
			x.touch(r)
		}
	}
	for _, id := range slices.Clone(x.tally.open) {
		if r := x.s.Reservations[id]; r.Implicit && !wanted[id] {
			x.terminate(r, "no grant permits it any more")
		}
	}
}

// endUnpermitted ends explicit reservations whose grant is over.
func (x *step) endUnpermitted() {
	permitted := map[[2]netip.Prefix]bool{}
	for _, r := range x.rel {
		permitted[[2]netip.Prefix{r.dataset.Record.ID.Prefix(), netip.PrefixFrom(r.consumer.Node.Addr(), 128)}] = true
	}
	for _, id := range slices.Clone(x.tally.open) {
		r := x.s.Reservations[id]
		if r.Implicit || permitted[[2]netip.Prefix{r.From, r.To}] {
			continue
		}
		n := x.s.Nodes[r.Egress]
		switch {
		case n != nil && x.frozen(n, r.Data) != nil:
			x.terminate(r, "it is frozen: "+x.frozen(n, r.Data).Reason)
		case n != nil && x.grantFor(n, r.Data) != nil:
			x.terminate(r, "no terminal holds the data any more")
		default:
			x.terminate(r, "no grant permits it any more")
		}
	}
}

// flowID tells flows apart: the same data from two holders are two.
type flowID struct {
	from, to netip.Prefix
	ingress  string
}

func flowKey(r *Reservation) flowID { return flowID{r.From, r.To, r.Ingress} }

// demands lists who takes part in sharing, in a fixed order.
func (c *Core) demands() (rs []*Reservation, ds []solve.PathDemand) {
	for _, id := range c.tally.open {
		r := c.s.Reservations[id]
		if !live(r) || r.Implicit && c.tally.replaced[flowKey(r)] > 0 {
			continue
		}
		pair := c.s.Pairs[pairKey(r.Ingress, r.Egress)]
		if pair == nil {
			continue
		}
		links, _ := c.linksOf(pair.Path)
		if len(links) == 0 {
			continue
		}
		rs, ds = append(rs, r), append(ds, c.demand(r, links))
	}
	return rs, ds
}

func (c *Core) demand(r *Reservation, links paths.Path) solve.PathDemand {
	d := solve.PathDemand{Links: links, Committed: committedAt(r, c.s.Now), Ceiling: ceilingAt(r, c.s.Now), Weight: float64(r.Priority), Order: solve.ServiceOrder(r.Class)}
	if r.Implicit {
		d.Committed = min(backgroundFloor, r.Ceiling)
		if r.Idle {
			d.Order++ // it has what nobody wants who sends
		}
	}
	return d
}

// divide gives out what is committed by rank, and shares the rest.
func (c *Core) divide(rs []*Reservation, ds []solve.PathDemand) ([]solve.Share, error) {
	capacity := c.capacities()
	links, want := make([][]int32, len(ds)), make([]dssn.Bandwidth, len(ds))
	for i, d := range ds {
		links[i], want[i] = d.Links, d.Committed
	}
	got, full := grants(capacity, rs, links, want)
	ds = slices.Clone(ds)
	for i := range ds {
		if ds[i].Committed = got[i]; got[i] < want[i] {
			ds[i].Ceiling = got[i] // who gives way does not get it back as excess
		}
	}
	// What was granted comes before what edges may still use of paths that they leave.
	spared := slices.Clone(capacity)
	c.spare(spared)
	granted := make([]dssn.Bandwidth, len(capacity))
	for i := range got {
		for _, e := range links[i] {
			granted[e] += got[i]
		}
	}
	for e := range spared {
		spared[e] = max(spared[e], granted[e])
	}
	shares, err := solve.MaxMin(spared, ds)
	for i := range shares {
		if s := &shares[i]; s.Rate < want[i] {
			s.Short = want[i] - s.Rate
			if full[i] >= 0 {
				s.Bottleneck = full[i]
			}
		}
	}
	return shares, err
}

func (c *Core) capacities() []dssn.Bandwidth {
	out := make([]dssn.Bandwidth, c.graph.NumLinks())
	for i := range out {
		if l := c.graph.Link(i); l.Usable() {
			out[i] = l.Capacity
		}
	}
	return out
}

// share sets what every reservation is allocated and why not more.
func (x *step) share() {
	x.shared = true
	type rates struct {
		all   dssn.Bandwidth
		parts []dssn.Bandwidth
	}
	was := map[dssn.ReservationID]rates{}
	for _, id := range x.tally.open {
		r := x.s.Reservations[id]
		x.offered(r)
		was[id] = rates{r.Allocated, r.Parts}
		r.Allocated, r.Parts, r.Limit = 0, nil, ""
	}
	defer func() {
		for id, w := range was {
			if r := x.s.Reservations[id]; r.Allocated != w.all || !slices.Equal(r.Parts, w.parts) {
				x.touch(r)
			}
		}
	}()
	rs, ds := x.demands()
	shares, err := x.divide(rs, ds)
	if err != nil {
		panic("the demands make no sense: " + err.Error()) // every field was checked as it came in
	}
	for i, s := range shares {
		r := rs[i]
		r.Allocated = s.Rate
		if s.Bottleneck >= 0 {
			r.Limit = x.graph.LinkName(int(s.Bottleneck))
		}
		state, reason := northbound.StateActive, ""
		switch pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]; {
		case pair.Fault != "" && (s.Short > 0 || s.Rate == 0):
			state, reason = northbound.StateDegraded, pair.Fault
		case !r.Implicit && s.Short > 0:
			// Its own path was good for it, until links failed and another pair, which
			// nothing can carry whole, had to go over one of its links too.
			state, reason = northbound.StateDegraded, fmt.Sprintf("only %s of the committed %s fits: %s is full", s.Rate, committedAt(r, x.now), r.Limit)
		case r.DelayFault != "":
			state, reason = northbound.StateDegraded, r.DelayFault
		}
		if !r.Implicit && state != r.State {
			x.event("state", r.Egress, r.ID, "the reservation is %s %s", state, reason)
		}
		changed := state != r.State
		r.State, r.Reason = state, reason
		if changed && r.Session != "" {
			x.sessionRate(r)
		}
	}
	x.spread(rs, ds, shares)
}

// expected returns what a wish would be allocated on path p now.
func (c *Core) expected(w *wish, p paths.Path) dssn.Bandwidth {
	rs, ds := c.demands()
	r := &Reservation{Reservation: northbound.Reservation{
		Class: w.q.Class, Committed: w.q.Committed, Ceiling: w.q.Ceiling, Priority: w.q.Priority, Created: c.s.Now,
		From: w.q.Data.Prefix(), To: netip.PrefixFrom(w.consumer.Node.Addr(), 128),
	}}
	for i, o := range rs {
		switch {
		case o.Implicit && o.From == r.From && o.To == r.To:
			ds[i].Ceiling, ds[i].Committed = 0, 0
		case o.Ingress == w.holder.Name && o.Egress == w.consumer.Name:
			ds[i].Links = p
		}
	}
	shares, err := c.divide(append(rs, r), append(ds, c.demand(r, p)))
	if err != nil {
		return 0
	}
	return shares[len(ds)].Rate
}
