package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/kernel"
	"dssn/node/liveness"

	"golang.org/x/sys/unix"
)

// carryOut does one effect. What can block for long (netlink, disk) is handed
// to a goroutine of its own, which takes only the newest.
func (n *running) carryOut(e Effect) {
	var err error
	switch e := e.(type) {
	case SendProbe:
		err = n.sendProbe(e.ProbeToSend)
	case SendHello:
		err = n.hellos.Send(e.Index, &e.Hello)
	case SetCarrier:
		err = n.steer.Set(e.To, e.Carrier.Addr())
	case ClearCarrier:
		err = n.steer.Delete(e.To)
	case SetLaneCarrier:
		err = n.steer.SetLane(e.Lane.To, e.Lane.Port, e.Carrier.Addr())
	case ClearLaneCarrier:
		err = n.steer.DeleteLane(e.Lane.To, e.Lane.Port)
	case SetProbePeers:
		n.probePeers.Store(&e)
	case SetAdmission:
		n.admission.assignment.Store(e.Assignment)
		n.admission.forget(e.Assignment)
		if n.server != nil { // a terminal
			if ended := n.server.Recheck(); ended > 0 {
				n.log.Info("answers ended with the rights to them", "requests", ended)
			}
		}
		n.generation.Store(e.Assignment.Generation)
	case PublishTables:
		n.publishTables(e)
	case SetKernel:
		n.plans.put(e)
	case SetTransit:
		n.driver.plans.put(e)
	case Persist:
		n.assignments.put(e.Assignment)
	case SendUp:
		n.sendUp(e.Up)
	case UseLink:
		err = n.useLink(e)
	case LoseLink:
		n.loseLink(e)
	case Switched:
		n.switched(e)
	case Noticed:
		n.log.Info(e.Text, e.Args...)
	}
	if err != nil && !unreachable(err) {
		n.log.Warn("effect not carried out", "effect", fmt.Sprintf("%T", e), "err", err)
	}
}

// unreachable reports errors of sending that are a link's or route's absence:
// liveness finds that out by itself.
func unreachable(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENXIO, unix.ECONNREFUSED, unix.ENOBUFS, unix.EINVAL, net.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, syscall.EPERM) // a firewall said no
}

func (n *running) sendProbe(p liveness.ProbeToSend) error {
	peer, ok := n.probePeer(p.Probe.To)
	if !ok {
		return nil
	}
	p.Probe.Open = peer.Open
	return n.probeBy(p.Probe.Append(make([]byte, 0, liveness.ProbeBytes), &peer.Key), p.Carrier)
}

func (n *running) probePeer(sid dssn.SID) (p ProbePeer, ok bool) {
	if e := n.probePeers.Load(); e != nil {
		p, ok = e.Peers[sid]
	}
	return p, ok
}

// probeBy sends an encoded probe by a carrier; see SetProbePeers.Gate.
func (n *running) probeBy(b []byte, carrier dssn.Carrier) error {
	if e := n.probePeers.Load(); e != nil && e.Gate != 0 {
		if sids := carrier.SIDs(); len(sids) == 1 {
			var err error
			if carrier, err = dssn.NewCarrier(n.identity.Block, e.Gate, sids[0]); err != nil {
				return err
			}
		}
	}
	return n.probes.Send(b, carrier.Addr())
}

// hearProbes answers what peers ask and feeds what they answer.
func (n *running) hearProbes(ctx context.Context) {
	context.AfterFunc(ctx, func() { n.probes.Close() })
	b := make([]byte, 2048)
	key := func(sid dssn.SID) (*liveness.ProbeKey, bool) {
		p, ok := n.probePeer(sid)
		return &p.Key, ok
	}
	for {
		size, err := n.probes.Receive(b)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p, err := liveness.ParseProbe(b[:size], n.identity.SID, key)
		if err != nil {
			continue
		}
		if p.Answer {
			n.feedUntil(ctx, ProbeAnswered{p})
			continue
		}
		if p.Return.IsZero() {
			continue
		}
		peer, _ := n.probePeer(p.From)
		a := p.Reflect(peer.Open)
		if err := n.probeBy(a.Append(b[:0], &peer.Key), p.Return); err != nil && !unreachable(err) {
			n.log.Warn("probe not answered", "err", err)
		}
	}
}

// hearHellos feeds what neighbours say.
func (n *running) hearHellos(ctx context.Context) {
	context.AfterFunc(ctx, func() { n.hellos.Close() })
	for {
		h, index, from, err := n.hellos.Receive()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		n.mu.Lock()
		name, watched := n.names[index]
		n.mu.Unlock()
		if watched {
			n.feedUntil(ctx, HelloHeard{name, from, h})
		}
	}
}

func (n *running) useLink(e UseLink) error {
	n.mu.Lock()
	n.names[e.Index] = e.Name
	n.mu.Unlock()
	err := n.hellos.Join(e.Index)
	if n.steer != nil && n.engine != nil {
		err = errors.Join(err, n.steer.Attach(e.Index))
	}
	return err
}

func (n *running) loseLink(e LoseLink) {
	n.mu.Lock()
	delete(n.names, e.Index)
	n.mu.Unlock()
	n.hellos.Leave(e.Index)
	if n.steer != nil {
		n.steer.Detach(e.Index)
	}
}

// publishTables tells the core at once, from inside the loop, how it went.
func (n *running) publishTables(e PublishTables) {
	p := Published{Generation: e.Tables.Generation}
	if n.engine != nil {
		if err := n.engine.Publish(e.Tables); err != nil {
			n.log.Error("tables not published", "err", err)
			p.Problem = err.Error()
		}
	}
	n.step(p)
}

// sendUp completes what only the shell knows.
func (n *running) sendUp(m southbound.Up) {
	if m.Applied != nil {
		a := *m.Applied
		a.Obtained = n.obtained()
		m.Applied = &a
		n.mu.Lock()
		n.applied = a
		n.mu.Unlock()
	}
	if n.uplink != nil {
		n.uplink.send(m)
	}
}

// unmetered is what the kernel's own forwarding does not do.
const unmetered = "; reservations are not metered on their way (--transit xdp would)"

// obtained says what this node really got.
func (n *running) obtained() map[string]string {
	out := map[string]string{"transit": "kernel seg6local End, next-csid", "steering": "tc egress (TCX)"}
	if !n.features.NextCSID {
		out["transit"] = "kernel forwarding, shortest path"
	}
	if n.identity.Role == southbound.RoleBackbone {
		out["transit"] += unmetered
	}
	if n.driver != nil {
		out["transit"] = n.driver.obtained()
	} else if n.withoutDriver != "" {
		out["transit"] += "; not in the driver: " + n.withoutDriver
	}
	if n.steer == nil {
		out["steering"] = "none, shortest path"
	}
	if n.engine != nil {
		o := n.engine.Obtained()
		out["engine"], out["inside"], out["outside"], out["cipher"] = o.Engine, o.Inside, o.Outside, o.Cipher
		out["preshared_key"] = fmt.Sprint(o.PresharedKey)
		out["mtu"] = fmt.Sprint(o.MTU)
	}
	return out
}

// switchesKept is how many moves of traffic per peer are remembered.
const switchesKept = 64

func (n *running) switched(e Switched) {
	n.log.Info("path switched", "peer", e.Name, "from", e.Switch.From, "to", e.Switch.To, "hops", e.Hops, "why", e.Switch.Why, "silent", e.Switch.Silent)
	n.mu.Lock()
	defer n.mu.Unlock()
	l := append(n.switches[e.Peer], PathSwitch{At: e.Switch.At, From: e.Switch.From, To: e.Switch.To, Hops: e.Hops, Why: e.Switch.Why,
		SilentMillis: e.Switch.Silent.Milliseconds()})
	n.switches[e.Peer] = l[max(0, len(l)-switchesKept):]
}

// realiseAll brings the newest plan into the kernel, one after the other.
func (n *running) realiseAll(ctx context.Context, host *kernel.Host) {
	for {
		var p SetKernel
		select {
		case <-ctx.Done():
			return
		case p = <-n.plans.c:
		}
		realise := host.Realise
		if p.Adopt {
			realise = host.Adopt
		}
		c, err := realise(p.Plan)
		r := Realised{Generation: p.Generation}
		if err != nil {
			r.Problem = err.Error()
			n.log.Warn("kernel not as wanted", "err", err)
		}
		if !c.Empty() {
			n.log.Debug("kernel changed", "set", len(c.SetRoutes), "removed", len(c.RemoveRoutes))
		}
		n.feedUntil(ctx, r)
	}
}

// persistAll keeps the newest Assignment on disk.
func (n *running) persistAll(ctx context.Context) {
	for {
		select {
		case a := <-n.assignments.c:
			if err := n.state.saveJSON(fileAssignment, a); err != nil {
				n.log.Error("assignment not kept", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// heard takes a message from the controller.
func (n *running) heard(m *southbound.Down) {
	if m.Assignment != nil {
		n.feed(Assigned{m.Assignment, false})
	}
	if m.UsageAck != nil {
		n.usage.acknowledged(m.UsageAck)
	}
}

// reportAll saves and reports usage until ctx ends, and saves once more then.
func (n *running) reportAll(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.reportUsage()
		case <-ctx.Done():
			if _, err := n.usage.report(n.now()); err != nil {
				n.log.Error("usage not kept", "err", err)
			}
			return
		}
	}
}

func (n *running) reportUsage() error {
	r, err := n.usage.report(n.now())
	if err != nil {
		n.log.Error("usage not kept: nothing is reported until it can be", "err", err)
		return err
	}
	if r != nil {
		for i := range r.Deliveries {
			r.Deliveries[i].Sign(n.identity.Node, n.keys.identity)
		}
		r.Sign(n.identity.Node, n.keys.identity)
		n.uplink.send(southbound.Up{Usage: r})
	}
	return nil
}

func (n *running) saveCertificate(der []byte) error {
	id := *n.identity
	id.Certificate = slices.Clone(der)
	return n.state.saveJSON(fileIdentity, &id)
}
