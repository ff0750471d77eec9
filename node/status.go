package node

import (
	"context"
	"net/netip"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
	"dssn/dataplane"
	"dssn/node/liveness"
)

// Status is a node at a glance, as GET /local/status answers.
type Status struct {
	Now         time.Time           `json:"now"`
	Name        string              `json:"name"`
	Node        dssn.NodeID         `json:"node"`
	Role        southbound.Role     `json:"role"`
	SID         dssn.SID            `json:"sid"`
	Address     netip.Addr          `json:"address"` // outer
	Institution string              `json:"institution"`
	Registrant  netip.Prefix        `json:"registrant"`
	LogKey      string              `json:"log_key"`
	Version     string              `json:"version"`
	Certificate CertificateStatus   `json:"certificate"`
	Controller  ControllerStatus    `json:"controller"`
	Features    southbound.Features `json:"features"`
	// Steering is true if carriers choose the paths: every node on the way can
	// do its part. Otherwise traffic takes the shortest path.
	Steering bool `json:"steering"`
	// Generation is of the Assignment held, Applied of the one in force, with
	// Problem if it could not be carried out whole.
	Generation uint64             `json:"generation"`
	Applied    uint64             `json:"applied"`
	Problem    string             `json:"problem,omitempty"`
	Obtained   map[string]string  `json:"obtained"`
	Links      []LinkStatus       `json:"links"`
	Peers      []PeerPaths        `json:"peers"`
	Tunnels    []TunnelStatus     `json:"tunnels"`
	Data       []content.Record   `json:"data"` // held here
	Usage      []southbound.Count `json:"usage"`
	Drops      map[string]uint64  `json:"drops"`
	// Transit counts what became of the frames that a transit program in the driver
	// saw, by name, also under earlier processes; absent where the kernel forwards.
	Transit map[string]uint64 `json:"transit,omitempty"`
	// Forwarded counts what that program forwarded towards each node.
	Forwarded []TransitCount `json:"forwarded,omitempty"`
	// Contracts counts the packets of each reservation that that program meters here.
	Contracts []southbound.TransitCount `json:"contracts,omitempty"`
}

// TransitCount is the packets, and bytes from the IPv6 header on, that were forwarded
// towards a node's SID, also under earlier processes.
type TransitCount struct {
	SID     dssn.SID `json:"sid"`
	Packets uint64   `json:"packets"`
	Bytes   uint64   `json:"bytes"`
}

// CertificateStatus says how long a node's certificate is good.
type CertificateStatus struct {
	Until time.Time `json:"until"`
	Renew time.Time `json:"renew"` // when the node asks for a new one
}

// LinkStatus is one watched link.
type LinkStatus struct {
	Interface string     `json:"interface"`
	Neighbour string     `json:"neighbour"`
	SID       dssn.SID   `json:"sid"`
	Address   netip.Addr `json:"address"` // link-local
	Up        bool       `json:"up"`
	Since     time.Time  `json:"since"`
}

// TunnelStatus is what the engine knows of one peer.
type TunnelStatus struct {
	Peer          string    `json:"peer"`
	LastHandshake time.Time `json:"last_handshake"`
	SentBytes     uint64    `json:"sent_bytes"`
	ReceivedBytes uint64    `json:"received_bytes"`
	// Cipher seals the session in use; "" while there is none.
	Cipher string `json:"cipher,omitempty"`
	// Lanes is how many ways of their own the tunnel's sessions have, Open how
	// many of them have a session.
	Lanes int `json:"lanes"`
	Open  int `json:"lanes_open"`
}

// PeerPaths are the ways to one peer and the moves of traffic between them.
type PeerPaths struct {
	Peer     dssn.NodeID  `json:"peer"`
	Name     string       `json:"name"`
	SID      dssn.SID     `json:"sid"`
	Paths    []PathView   `json:"paths"`
	Switches []PathSwitch `json:"switches"` // oldest first
}

// PathView is one way as its probes see it.
type PathView struct {
	Carrier dssn.Carrier  `json:"carrier"`
	Hops    []string      `json:"hops"`
	SIDs    []dssn.SID    `json:"sids,omitempty"` // of Hops; absent if the controller does not tell
	Alive   bool          `json:"alive"`
	InUse   bool          `json:"in_use"`
	RTT     time.Duration `json:"rtt_ns"`
	Since   time.Time     `json:"since"`
	Sent    uint64        `json:"probes_sent"`
	Heard   uint64        `json:"probes_answered"`
}

// PathSwitch says when traffic moved, and why. At has at least millisecond
// precision.
type PathSwitch struct {
	At   time.Time    `json:"at"`
	From dssn.Carrier `json:"from"`
	To   dssn.Carrier `json:"to"`
	Hops []string     `json:"hops"` // of To
	Why  string       `json:"why"`
	// SilentMillis is how long the path left behind had not answered: the time
	// from the cut, as far as this end can know it.
	SilentMillis int64 `json:"silent_ms"`
}

// status gathers everything.
func (n *running) status(ctx context.Context) (*Status, error) {
	leaf := n.certificate.Load().Leaf
	s := &Status{
		Now: n.now(), Name: n.identity.Name, Node: n.identity.Node, Role: n.identity.Role, SID: n.identity.SID,
		Address: n.identity.SID.Node(n.identity.Block), Institution: n.identity.Institution, Registrant: n.identity.Registrant,
		LogKey: n.identity.LogKey, Version: n.version, Certificate: CertificateStatus{leaf.NotAfter, renewAt(leaf)},
		Controller: n.uplink.state(), Features: n.features, Obtained: n.obtained(),
		Links: []LinkStatus{}, Tunnels: []TunnelStatus{}, Data: []content.Record{}, Usage: n.usage.counts(), Drops: map[string]uint64{},
	}
	var names map[dataplane.Key]string
	err := n.ask(ctx, func(c *Core) {
		for _, l := range c.Neighbours() {
			s.Links = append(s.Links, LinkStatus{l.Interface, l.Name, l.SID, l.Address, l.Up, l.Since})
		}
		if a := c.Assignment(); a != nil {
			s.Generation, s.Steering = a.Generation, a.Steering
			names = make(map[dataplane.Key]string, len(a.Peers))
			for _, p := range a.Peers {
				var k dataplane.Key
				copy(k[:], p.TunnelKey)
				names[k] = p.Name
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if s.Peers, err = n.peerPaths(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	s.Applied, s.Problem = n.applied.Generation, n.applied.Problem
	n.mu.Unlock()
	if n.driver != nil {
		if s.Transit, err = n.driver.verdicts(); err != nil {
			return nil, err
		}
		if s.Forwarded, err = n.driver.forwarded(); err != nil {
			return nil, err
		}
		if s.Contracts, err = n.driver.counts(); err != nil {
			return nil, err
		}
	}
	if n.engine != nil {
		s.Drops = n.engine.Drops()
		for _, p := range n.engine.Peers(nil) {
			t := TunnelStatus{Peer: names[p.Key], LastHandshake: p.LastHandshake, SentBytes: p.SentBytes, ReceivedBytes: p.ReceivedBytes, Lanes: p.Lanes, Open: p.Open}
			if p.Suite != 0 {
				t.Cipher = p.Suite.String()
			}
			s.Tunnels = append(s.Tunnels, t)
		}
		s.Data = append(s.Data, n.server.Offered()...)
	}
	return s, nil
}

// peerPaths gathers the ways to all peers.
func (n *running) peerPaths(ctx context.Context) ([]PeerPaths, error) {
	var peers []southbound.Peer
	var states []liveness.PathStatus
	err := n.ask(ctx, func(c *Core) {
		states = c.Paths()
		if a := c.Assignment(); a != nil {
			peers = a.Peers
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]PeerPaths, 0, len(peers))
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range peers {
		v := PeerPaths{Peer: p.Node, Name: p.Name, SID: p.SID, Paths: []PathView{}, Switches: append([]PathSwitch{}, n.switches[p.Node]...)}
		for _, s := range states {
			if s.Peer != p.SID {
				continue
			}
			w := PathView{Carrier: s.Carrier, Alive: s.Alive, InUse: s.InUse, RTT: s.RTT, Since: s.Since, Sent: s.Sent, Heard: s.Heard, Hops: []string{}}
			for _, path := range p.Paths {
				if path.Carrier == s.Carrier {
					w.Hops, w.SIDs = path.Hops, path.SIDs
				}
			}
			v.Paths = append(v.Paths, w)
		}
		out = append(out, v)
	}
	return out, nil
}
