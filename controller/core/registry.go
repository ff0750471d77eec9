package core

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/topology"
)

// Limits and defaults of the registry.
const (
	defaultTokenTTL = time.Hour
	maxTokenTTL     = 30 * 24 * time.Hour
	defaultAccess   = 10 * dssn.Gbps
	firstFreeSID    = dssn.SID(0x100) // for nodes that the topology gives none
)

// validName is what institutions and nodes may be called.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func checkName(what, name string) error {
	if !validName.MatchString(name) {
		return refuse(Invalid, "%q cannot name %s: use 1 to 63 small letters, digits, dots and hyphens, a letter or digit first", name, what)
	}
	return nil
}

// configure takes a network, new or changed. Nodes that the new one lacks stay
// registered but are no longer linked.
func (x *step) configure(in *Configure) error {
	g, err := topology.Read([]byte(in.Topology))
	if err != nil {
		return refuse(Invalid, "%v", err)
	}
	seen := map[string]bool{}
	for _, n := range g.Nodes() {
		if seen[n.Name] {
			return refuse(Invalid, "the topology names two nodes %q: give every node its own name", n.Name)
		}
		seen[n.Name] = true
	}
	if in.Block.Bits() != dssn.LocatorBlockBits || !in.Block.Addr().Is6() {
		return refuse(Invalid, "the locator block %s is not an IPv6 /%d: use for example %s", in.Block, dssn.LocatorBlockBits, dssn.LabBlock)
	}
	if in.Operator.Bits() != 32 || !in.Operator.Addr().Is6() {
		return refuse(Invalid, "the operator prefix %s is not an IPv6 /32: use for example 3fff:d55::/32", in.Operator)
	}
	first := x.s.Topology == ""
	if first && len(in.Secret) != 32 {
		return refuse(Invalid, "the first configuration has no secret of 32 bytes")
	}
	if !first && (in.Block.Masked() != x.s.Block || in.Operator.Masked() != x.s.Operator) {
		return refuse(Conflict, "the controller was set up with block %s and operator %s: start it with these, or with another --state", x.s.Block, x.s.Operator)
	}
	x.s.Topology, x.s.Block, x.s.Operator = in.Topology, in.Block.Masked(), in.Operator.Masked()
	if first {
		x.s.Secret = bytes.Clone(in.Secret)
		x.s.Institutions[northbound.OperatorInstitution] = &northbound.Institution{
			Name: northbound.OperatorInstitution, Registrant: registrant(x.s.Operator, 1, 0), Created: x.now,
		}
	}
	x.relink = true
	x.event("configured", "", 0, "the network %s has %d nodes and %d links", g.Name, g.NumNodes(), g.NumLinks())
	return nil
}

// registrant returns the /64 of number n in a region: operator:region:n::/64.
func registrant(operator netip.Prefix, region, n uint16) netip.Prefix {
	b := operator.Addr().As16()
	binary.BigEndian.PutUint16(b[4:], region)
	binary.BigEndian.PutUint16(b[6:], n)
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func operatorOnly(by Principal, what string) error {
	if !by.Operator {
		return refuse(Denied, "only the operator may %s: ask them, or use the controller's own socket", what)
	}
	return nil
}

func (x *step) addInstitution(in *AddInstitution) (*northbound.Institution, error) {
	if err := operatorOnly(in.By, "register institutions"); err != nil {
		return nil, err
	}
	name := in.Request.Name
	if err := checkName("an institution", name); err != nil {
		return nil, err
	}
	if old := x.s.Institutions[name]; old != nil {
		return nil, refuse(Conflict, "the institution %s is already registered with %s: choose another name", name, old.Registrant)
	}
	region := max(in.Request.Region, 1)
	taken := map[netip.Prefix]bool{}
	for _, i := range x.s.Institutions {
		taken[i.Registrant] = true
	}
	for n := range 1 << 16 {
		p := registrant(x.s.Operator, region, uint16(n))
		if taken[p] {
			continue
		}
		i := &northbound.Institution{Name: name, Registrant: p, Created: x.now}
		x.s.Institutions[name] = i
		x.decided("institution", who(in.By), i)
		x.event("institution-added", "", 0, "the institution %s has %s", name, p)
		out := *i
		return &out, nil
	}
	return nil, refuse(Conflict, "region %x has no registrant prefix left: choose another with --region", region)
}

func (x *step) createToken(in *CreateToken) (*northbound.Token, error) {
	q := in.Request
	if err := operatorOnly(in.By, "make tokens"); err != nil {
		return nil, err
	}
	if in.ID == "" || x.s.Tokens[in.ID] != nil || len(in.Hash) != 32 {
		return nil, refuse(Invalid, "the token has no proper identifier and hash: ask again")
	}
	if n := x.s.Nodes[q.Node]; n != nil {
		return nil, refuse(Conflict, "the node %s has already joined: choose another name, or ask the operator to remove that node", q.Node)
	}
	t := &Token{Hash: bytes.Clone(in.Hash), Node: q.Node, Role: q.Role, Institution: q.Institution, Access: q.Access, SID: q.SID}
	base := x.baseGraph()
	place, inTopology := base.NodeByName(q.Node)
	switch q.Role {
	case southbound.RoleBackbone:
		if !inTopology {
			return nil, refuse(Unknown, "the topology has no node %q: its nodes are %s", q.Node, nodeNames(base))
		}
		if q.Institution != "" && q.Institution != northbound.OperatorInstitution {
			return nil, refuse(Invalid, "the backbone node %s belongs to the operator: leave --institution away", q.Node)
		}
		t.Institution = northbound.OperatorInstitution
		if sid := base.Node(place).SID; sid != 0 {
			if t.SID != 0 && t.SID != sid {
				return nil, refuse(Conflict, "the topology gives %s the SID %s, not %s: leave --sid away", q.Node, sid, t.SID)
			}
			t.SID = sid
		}
	case southbound.RoleTerminal:
		if err := checkName("a node", q.Node); err != nil {
			return nil, err
		}
		if inTopology {
			return nil, refuse(Conflict, "%s is a backbone node of the topology: choose another name for the terminal", q.Node)
		}
		if q.Institution == "" {
			return nil, refuse(Invalid, "a terminal belongs to an institution: add --institution NAME")
		}
		if x.s.Institutions[q.Institution] == nil || q.Institution == northbound.OperatorInstitution {
			return nil, refuse(Unknown, "no institution is named %q: register it with `dssn institution add %s`", q.Institution, q.Institution)
		}
		if t.Access == 0 {
			t.Access = defaultAccess
		}
		if t.Access > topology.MaxCapacity {
			return nil, refuse(Invalid, "an access link of %s is more than %s: lower --access", t.Access, topology.MaxCapacity)
		}
	default:
		return nil, refuse(Invalid, "%q is not a role: use backbone or terminal", q.Role)
	}
	sid, err := x.pickSID(base, t.SID, q.Node)
	if err != nil {
		return nil, err
	}
	t.SID = sid
	ttl := time.Duration(q.TTLSeconds) * time.Second
	switch {
	case q.TTLSeconds == 0:
		ttl = defaultTokenTTL
	case ttl < 0 || q.TTLSeconds > int64(maxTokenTTL/time.Second):
		return nil, refuse(Invalid, "a token can live from 1 second to %s: change --ttl", "30 days")
	}
	t.Expires = x.now.Add(ttl)
	for id, old := range x.s.Tokens { // the newest token of a name replaces those before it
		if old.Node == q.Node && old.Used.IsZero() {
			delete(x.s.Tokens, id)
		}
	}
	x.s.Tokens[in.ID] = t
	x.event("token-created", q.Node, 0, "a %s named %s of %s may join until %s", q.Role, q.Node, t.Institution, t.Expires.Format(time.RFC3339))
	return &northbound.Token{ID: in.ID, Node: q.Node, Expires: t.Expires}, nil
}

// pickSID returns want if nobody else has it, or the next free one.
func (x *step) pickSID(base *topology.Graph, want dssn.SID, name string) (dssn.SID, error) {
	taken := map[dssn.SID]string{}
	for _, n := range base.Nodes() {
		if n.SID != 0 {
			taken[n.SID] = n.Name
		}
	}
	for _, n := range x.s.Nodes {
		taken[n.SID] = n.Name
	}
	for _, t := range x.s.Tokens {
		if t.Used.IsZero() && t.Expires.After(x.now) {
			taken[t.SID] = t.Node
		}
	}
	if want != 0 {
		if holder, ok := taken[want]; ok && holder != name {
			return 0, refuse(Conflict, "the SID %s belongs to %s: choose another, or leave --sid away", want, holder)
		}
		return want, nil
	}
	for s := firstFreeSID; s != 0; s++ {
		if holder, ok := taken[s]; !ok || holder == name {
			return s, nil
		}
	}
	return 0, refuse(Conflict, "no SID is free in the locator block: remove a node first")
}

func nodeNames(g *topology.Graph) string {
	var names []string
	for i, n := range g.Nodes() {
		if i == 12 {
			names = append(names, "…")
			break
		}
		names = append(names, n.Name)
	}
	return strings.Join(names, ", ")
}

// CheckJoin reports, changing nothing, why a join would be refused because of
// its token. The shell asks before it journals: strangers cannot fill the disk.
func (c *Core) CheckJoin(now time.Time, in *Join) error {
	t := c.s.Tokens[in.Token]
	if t == nil || subtle.ConstantTimeCompare(t.Hash, in.Hash) != 1 {
		return refuse(Denied, "the token is not known here: ask the operator for a new one (`dssn token create`)")
	}
	if !t.Used.IsZero() {
		if n := c.s.Nodes[t.Node]; n != nil && bytes.Equal(t.UsedBy, in.Key) {
			return nil // the answer to the first attempt was lost
		}
		return refuse(Denied, "the token for %s was already used: a token works once; ask the operator for a new one (`dssn token create`)", t.Node)
	}
	if !t.Expires.After(now) {
		return refuse(Expired, "the token for %s expired at %s: ask the operator for a new one (`dssn token create`)", t.Node, t.Expires.Format(time.RFC3339))
	}
	if len(in.Key) != ed25519.PublicKeySize {
		return refuse(Invalid, "the identity key has %d bytes: send an Ed25519 key", len(in.Key))
	}
	if len(in.TunnelKey) != 32 {
		return refuse(Invalid, "the tunnel key has %d bytes: send a Curve25519 key of 32", len(in.TunnelKey))
	}
	if t.Role == southbound.RoleTerminal && len(in.RegistrantKey) != ed25519.PublicKeySize {
		return refuse(Invalid, "the registrant key has %d bytes: a terminal sends an Ed25519 key", len(in.RegistrantKey))
	}
	for _, n := range c.s.Nodes {
		if bytes.Equal(n.Key, in.Key) || bytes.Equal(n.TunnelKey, in.TunnelKey) {
			return refuse(Conflict, "these keys already belong to the node %s: use an empty --state for a new node", n.Name)
		}
	}
	return nil
}

func (x *step) join(in *Join) (*Node, error) {
	if err := x.CheckJoin(x.now, in); err != nil {
		return nil, err
	}
	t := x.s.Tokens[in.Token]
	if !t.Used.IsZero() {
		return x.s.Nodes[t.Node].clone(), nil
	}
	inst := x.s.Institutions[t.Institution]
	id, err := x.mintNode(inst.Registrant, in.Key)
	if err != nil {
		return nil, err
	}
	n := &Node{
		Name: t.Node, Node: id, Role: t.Role, Institution: t.Institution, SID: t.SID,
		Key: bytes.Clone(in.Key), TunnelKey: bytes.Clone(in.TunnelKey), Access: t.Access,
		Features: in.Features, Joined: x.now, Neighbours: map[string]bool{},
	}
	t.Used, t.UsedBy = x.now, bytes.Clone(in.Key)
	x.s.Nodes[n.Name], x.ids[n.Node] = n, n
	if t.Role == southbound.RoleTerminal && !slices.ContainsFunc(inst.Keys, func(k []byte) bool { return bytes.Equal(k, in.RegistrantKey) }) {
		inst.Keys = append(inst.Keys, bytes.Clone(in.RegistrantKey))
	}
	x.changedNode(n)
	x.decided("join", n.Name, struct {
		Name        string      `json:"name"`
		Node        dssn.NodeID `json:"node"`
		Institution string      `json:"institution"`
		Key         []byte      `json:"key"`
	}{n.Name, n.Node, n.Institution, n.Key})
	x.event("node-joined", n.Name, 0, "the %s %s of %s has SID %s", n.Role, n.Name, n.Institution, n.SID)
	if f := n.Features; !f.NextCSID && n.Role == southbound.RoleBackbone || !f.CarrierEgress && n.Role == southbound.RoleTerminal {
		x.event("steering-missing", n.Name, 0, "%s cannot take part in path steering (%s): shortest paths are used", n.Name, f.Why)
	}
	return n.clone(), nil
}

func (x *step) mintNode(registrant netip.Prefix, key ed25519.PublicKey) (dssn.NodeID, error) {
	for salt := uint32(0); salt < 1000; salt++ {
		id, err := content.MintNode(registrant, key, salt)
		if err != nil {
			return dssn.NodeID{}, refuse(Invalid, "%v", err)
		}
		if _, gone := x.s.Removed[id]; !gone && x.nodeByID(id) == nil {
			return id, nil
		}
	}
	return dssn.NodeID{}, refuse(Conflict, "no identifier is free for this key: join with a new one")
}

func (n *Node) clone() *Node {
	c := *n
	return &c
}

func (c *Core) nodeByID(id dssn.NodeID) *Node {
	return c.ids[id]
}

// Authenticate returns the principal of a node that proved key, or why it is
// nobody here.
func (c *Core) Authenticate(id dssn.NodeID, key ed25519.PublicKey) (Principal, error) {
	n := c.nodeByID(id)
	if n == nil || !bytes.Equal(n.Key, key) {
		if why, ok := c.s.Removed[id]; ok {
			return Principal{}, refuse(Denied, "the node %s was removed (%s): join again with a new token", id, why)
		}
		return Principal{}, refuse(Denied, "the node %s is not registered here: join with `dssn node join`", id)
	}
	return Principal{Node: n.Name, Institution: n.Institution}, nil
}

func (x *step) removeNode(in *RemoveNode) error {
	if err := operatorOnly(in.By, "remove nodes"); err != nil {
		return err
	}
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: see `dssn status`", in.Node)
	}
	reason := in.Reason
	if reason == "" {
		reason = "removed by " + who(in.By)
	}
	for _, id := range sortedKeys(x.s.Reservations) {
		if r := x.s.Reservations[id]; !ended(r) && (r.Ingress == n.Name || r.Egress == n.Name) {
			x.terminate(r, fmt.Sprintf("the node %s was removed", n.Name))
		}
	}
	for _, id := range sortedKeys(x.s.Datasets) {
		d := x.s.Datasets[id]
		d.Holders = slices.DeleteFunc(d.Holders, func(h string) bool { return h == n.Name })
	}
	for key, p := range x.s.Pairs {
		if p.Ingress == n.Name || p.Egress == n.Name {
			delete(x.s.Pairs, key)
			delete(x.tally.faulty, key)
		}
	}
	delete(x.s.Nodes, n.Name)
	delete(x.ids, n.Node)
	delete(x.s.Issued, n.Name)
	delete(x.assignments, n.Name)
	x.s.Removed[n.Node] = reason
	x.changedNode(n)
	x.effects = append(x.effects, Effect{Disconnect: n.Node})
	x.decided("remove-node", who(in.By), map[string]any{"name": n.Name, "node": n.Node, "reason": reason})
	x.event("node-removed", n.Name, 0, "%s was removed: %s", n.Name, reason)
	return nil
}

// who names a principal in evidence and events.
func who(p Principal) string {
	switch {
	case p.Person != "":
		return p.Person
	case p.Node != "":
		return p.Node
	case p.Institution != "":
		return p.Institution
	}
	return northbound.OperatorInstitution
}
