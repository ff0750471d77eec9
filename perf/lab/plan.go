package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"dssn/topology"
)

// Role says what a namespace is for.
type Role string

// The roles of namespaces: the controller's, one per backbone node, one per
// access terminal, the switch of the management network, and the place of the
// emulated wires, where there are any.
const (
	RoleController Role = "controller"
	RoleBackbone   Role = "backbone"
	RoleTerminal   Role = "terminal"
	RoleSwitch     Role = "switch"
	RoleWires      Role = "wires"
)

// The management network of every lab. Labs cannot see each other, so all use
// the same addresses.
var (
	managementNet     = netip.MustParsePrefix("fd00:d55::/64")
	controllerAddress = netip.MustParseAddr("fd00:d55::1")
)

// The names of the interfaces that a lab makes, besides "to-<node>" for a
// backbone link and "acc-<terminal>" for the backbone's end of an access link.
const (
	managementInterface = "mgmt"
	uplinkInterface     = "uplink"
)

// BackboneLinks and TerminalLinks are the interfaces on which a node of either
// kind meets its neighbours, as the node's --link option takes them.
var (
	BackboneLinks = []string{"to-*", "acc-*"}
	TerminalLinks = []string{uplinkInterface}
)

// Plan is everything a lab will consist of: plain data, the same for the same
// topology and options.
type Plan struct {
	ID    string `json:"id"`
	MTU   int    `json:"mtu"`
	Nodes []Node `json:"nodes"`
	Wires []Wire `json:"wires"`
}

// Node is one namespace.
type Node struct {
	Name      string `json:"name"` // as in the topology; what people type
	Namespace string `json:"namespace"`
	Role      Role   `json:"role"`
	Hub       string `json:"hub,omitempty"` // a terminal's backbone node
	// Institution is a terminal's owner.
	Institution string    `json:"institution,omitempty"`
	Addresses   []Address `json:"addresses,omitempty"`
	Routes      []Route   `json:"routes,omitempty"`
}

// Address is given to an interface of the management network.
type Address struct {
	Interface string       `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

// Route leads to the management network; all other routes are the nodes' own work.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

// Wire is one veth pair.
type Wire struct {
	Name string `json:"name"` // "a-b", the names of the ends
	Kind string `json:"kind"` // fibre, access or management
	Ends [2]End `json:"ends"`
	// Emulated is how the wire begins to behave from Ends[0] to Ends[1] and back,
	// in the words of dssn/perf/wire; absent for a plain veth pair.
	Emulated []string `json:"emulated,omitempty"`
	// Ports are the interfaces of the wires' namespace that meet the ends.
	Ports []string `json:"ports,omitempty"`
}

// End is one end of a wire.
type End struct {
	Node      string `json:"node"`
	Interface string `json:"interface"`
}

// The kinds of wires.
const (
	wireFibre      = "fibre"
	wireAccess     = "access"
	wireManagement = "management"
)

// Terminal is an access terminal to be attached to a backbone node.
type Terminal struct {
	Name string
	At   string // the backbone node's name
	// Institution owns it; empty means one that is named after the backbone node.
	Institution string
}

var labID = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// CheckID reports why id cannot name a lab.
func CheckID(id string) error {
	if !labID.MatchString(id) {
		return fmt.Errorf("%q cannot name a lab: use 1 to 12 small letters and digits", id)
	}
	return nil
}

// NewPlan lays out a lab called id. Nothing is made.
func NewPlan(id string, g *topology.Graph, terminals []Terminal, mtu int) (*Plan, error) {
	return newPlan(id, g, terminals, mtu, "")
}

// newPlan is NewPlan with settings for all fibres that say nothing themselves; see emulate.
func newPlan(id string, g *topology.Graph, terminals []Terminal, mtu int, wires string) (*Plan, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if mtu < 1280 || mtu > 65535 {
		return nil, fmt.Errorf("an MTU of %d bytes is not possible: choose 1280 to 65535", mtu)
	}
	p := &planner{Plan: &Plan{ID: id, MTU: mtu}, g: g, spaces: slugger{}, ifaces: map[string]slugger{}}
	p.management()
	for i := range g.Nodes() {
		p.backbone(i)
	}
	if err := p.fibres(); err != nil {
		return nil, err
	}
	for i, t := range terminals {
		if err := p.terminal(i, t); err != nil {
			return nil, err
		}
	}
	if err := p.emulate(wires); err != nil {
		return nil, err
	}
	return p.Plan, nil
}

// planner is a Plan in the making.
type planner struct {
	*Plan
	g      *topology.Graph
	spaces slugger            // namespace names
	ifaces map[string]slugger // interface names by node
}

func (p *planner) add(n Node) {
	n.Namespace = namespacePrefix(p.ID) + p.spaces.unique(slug(n.Name), 24)
	p.Nodes = append(p.Nodes, n)
	p.ifaces[n.Name] = slugger{}
}

// management makes the switch and the controller, whose names a topology
// cannot take.
func (p *planner) management() {
	p.add(Node{Name: string(RoleSwitch), Role: RoleSwitch})
	p.add(Node{Name: string(RoleController), Role: RoleController,
		Addresses: []Address{{managementInterface, netip.PrefixFrom(controllerAddress, 64)}}})
	p.manage(string(RoleController))
}

// manage wires a node to the management switch.
func (p *planner) manage(node string) {
	port := p.ifaces[string(RoleSwitch)].unique("p-"+slug(node), 15)
	p.wire(wireManagement, End{node, managementInterface}, End{string(RoleSwitch), port})
}

func (p *planner) wire(kind string, a, b End) {
	p.Wires = append(p.Wires, Wire{Name: a.Node + "-" + b.Node, Kind: kind, Ends: [2]End{a, b}})
}

// managementAddress is fd00:d55::1:<index> for backbone node i.
func managementAddress(i int) netip.Addr {
	b := managementNet.Addr().As16()
	b[13], b[14], b[15] = 1, byte((i+1)>>8), byte(i+1)
	return netip.AddrFrom16(b)
}

func (p *planner) backbone(i int) {
	name := p.g.Node(i).Name
	p.add(Node{Name: name, Role: RoleBackbone,
		Addresses: []Address{{managementInterface, netip.PrefixFrom(managementAddress(i), 64)}}})
	p.manage(name)
}

// fibres makes one wire per pair of nodes that the topology links, in either
// direction or both.
func (p *planner) fibres() error {
	for i, n := range p.g.Nodes() {
		if n.Name == string(RoleController) || n.Name == string(RoleSwitch) {
			return fmt.Errorf("node %d of the topology is named %q, a name that the lab needs for itself: rename it", i, n.Name)
		}
	}
	for i, l := range p.g.Links() {
		if j, ok := p.g.LinkBetween(l.Dst, l.Src); ok && j < i {
			continue // the other direction made it
		}
		a, b := p.g.Node(l.Src).Name, p.g.Node(l.Dst).Name
		p.wire(wireFibre, End{a, p.ifaces[a].unique("to-"+slug(b), 15)}, End{b, p.ifaces[b].unique("to-"+slug(a), 15)})
	}
	return nil
}

// terminal attaches a terminal to its hub. Its way to the controller is in
// band: a default route through the hub, which forwards to the management
// network; the access link's own /64, fd00:d55:<1+index>::/64, is routed back.
func (p *planner) terminal(i int, t Terminal) error {
	hub, ok := p.g.NodeByName(t.At)
	if !ok {
		return fmt.Errorf("the topology has no node %q for a terminal: its nodes are %s", t.At, someNames(p.g))
	}
	if _, taken := p.ifaces[t.Name]; taken {
		return fmt.Errorf("a terminal cannot be named %q: there is a node of that name", t.Name)
	}
	b := managementNet.Addr().As16()
	b[4], b[5] = byte((i+1)>>8), byte(i+1)
	link := netip.PrefixFrom(netip.AddrFrom16(b), 64)
	inside, outside := link.Addr().Next(), link.Addr().Next().Next()
	port := p.ifaces[t.At].unique("acc-"+slug(t.Name), 15)

	if t.Institution == "" {
		t.Institution = institution(t.At)
	}
	p.add(Node{Name: t.Name, Role: RoleTerminal, Hub: t.At, Institution: t.Institution,
		Addresses: []Address{{uplinkInterface, netip.PrefixFrom(outside, 64)}},
		Routes:    []Route{{netip.PrefixFrom(netip.IPv6Unspecified(), 0), inside}}})
	p.wire(wireAccess, End{t.Name, uplinkInterface}, End{t.At, port})
	h := p.node(t.At)
	h.Addresses = append(h.Addresses, Address{port, netip.PrefixFrom(inside, 64)})
	c := p.node(string(RoleController))
	c.Routes = append(c.Routes, Route{link, managementAddress(hub)})
	return nil
}

func (p *Plan) node(name string) *Node {
	for i := range p.Nodes {
		if p.Nodes[i].Name == name {
			return &p.Nodes[i]
		}
	}
	return nil
}

// Node finds a node by name, or by the last part of its namespace's name.
func (p *Plan) Node(name string) (Node, error) {
	if n := p.node(name); n != nil {
		return *n, nil
	}
	for _, n := range p.Nodes {
		if n.Namespace == namespacePrefix(p.ID)+name {
			return n, nil
		}
	}
	var names []string
	for _, n := range p.Nodes {
		names = append(names, n.Name)
	}
	return Node{}, fmt.Errorf("lab %s has no node %q: name one of %s", p.ID, name, strings.Join(names, ", "))
}

// Wire finds a wire by the names of its ends, in either order: "a-b".
func (p *Plan) Wire(name string) (Wire, error) {
	var names []string
	for _, w := range p.Wires {
		if name == w.Name || name == w.Ends[1].Node+"-"+w.Ends[0].Node {
			return w, nil
		}
		if w.Kind != wireManagement {
			names = append(names, w.Name)
		}
	}
	return Wire{}, fmt.Errorf("lab %s has no link %q: it has %s", p.ID, name, strings.Join(names, ", "))
}

func someNames(g *topology.Graph) string {
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

func namespacePrefix(id string) string { return "dssn-" + id + "-" }

// slug keeps what can stand in the name of a namespace or interface.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "node"
}

// slugger hands out each name once.
type slugger map[string]bool

// unique returns want, cut to max bytes, with a number behind it if it is taken.
func (s slugger) unique(want string, max int) string {
	name := want[:min(len(want), max)]
	for i := 2; s[name]; i++ {
		tail := fmt.Sprintf("-%d", i)
		name = want[:min(len(want), max-len(tail))] + tail
	}
	s[name] = true
	return name
}
