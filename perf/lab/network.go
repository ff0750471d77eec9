package lab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// makeNetwork realises the plan: first every namespace with its sysctls, then
// every wire with both its ends directly inside their namespaces, then the
// management network's addresses and routes. After an error what was made is
// still there; the caller removes it.
func makeNetwork(p *Plan) error {
	hands := map[string]*netlink.Handle{}
	spaces := map[string]netns.NsHandle{}
	defer func() {
		for _, h := range hands {
			h.Close()
		}
		for _, ns := range spaces {
			ns.Close()
		}
	}()
	for _, n := range p.Nodes {
		if err := makeNamespace(n.Namespace, func() error { return prepare(n) }); err != nil {
			return err
		}
		ns, err := netns.GetFromName(n.Namespace)
		if err != nil {
			return fmt.Errorf("open namespace %s: %w", n.Namespace, err)
		}
		spaces[n.Name] = ns
		h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink in %s: %w", n.Namespace, err)
		}
		hands[n.Name] = h
		if err := raiseFloor(n, h); err != nil {
			return fmt.Errorf("prepare %s: %w", n.Namespace, err)
		}
	}
	for _, w := range p.Wires {
		if err := makeWire(w, p.MTU, hands, spaces); err != nil {
			return fmt.Errorf("make link %s: %w", w.Name, err)
		}
	}
	for _, n := range p.Nodes {
		if err := number(n, hands[n.Name]); err != nil {
			return fmt.Errorf("number %s: %w", n.Namespace, err)
		}
	}
	return nil
}

// prepare sets what must be in force before the namespace's interfaces exist:
// without it the first second of every link would go to duplicate address
// detection. It runs inside the namespace.
func prepare(n Node) error {
	settings := [][2]string{
		{"default/accept_dad", "0"}, {"all/accept_dad", "0"},
		{"default/accept_ra", "0"}, {"all/accept_ra", "0"},
	}
	if n.Role == RoleWires {
		settings = [][2]string{{"default/disable_ipv6", "1"}} // a wire says nothing by itself
	}
	if n.Role == RoleBackbone {
		settings = append(settings, [][2]string{
			{"all/forwarding", "1"}, {"default/forwarding", "1"},
			{"all/seg6_enabled", "1"}, {"default/seg6_enabled", "1"}}...)
	}
	for _, s := range settings {
		if err := sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// raiseFloor brings up the loopback interface, and in the switch the bridge.
func raiseFloor(n Node, h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	if n.Role != RoleSwitch {
		return nil
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: managementInterface}}
	if err := h.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	return h.LinkSetUp(bridge)
}

// makeWire makes one veth pair, or, for an emulated wire, one from each end to
// its port.
func makeWire(w Wire, mtu int, hands map[string]*netlink.Handle, spaces map[string]netns.NsHandle) error {
	if len(w.Emulated) == 0 {
		return makeVeth(w.Ends, mtu, hands, spaces)
	}
	for i, e := range w.Ends {
		if err := makeVeth([2]End{e, {string(RoleWires), w.Ports[i]}}, mtu, hands, spaces); err != nil {
			return err
		}
	}
	return nil
}

func makeVeth(ends [2]End, mtu int, hands map[string]*netlink.Handle, spaces map[string]netns.NsHandle) error {
	a, b := ends[0], ends[1]
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: a.Interface, MTU: mtu},
		PeerName:      b.Interface,
		PeerMTU:       uint32(mtu),
		PeerNamespace: netlink.NsFd(spaces[b.Node]),
	}
	if err := hands[a.Node].LinkAdd(veth); err != nil {
		return err
	}
	for _, e := range ends {
		h := hands[e.Node]
		link, err := h.LinkByName(e.Interface)
		if err != nil {
			return fmt.Errorf("find %s in %s: %w", e.Interface, e.Node, err)
		}
		if e.Node == string(RoleSwitch) {
			bridge, err := h.LinkByName(managementInterface)
			if err != nil {
				return fmt.Errorf("find the bridge: %w", err)
			}
			if err := h.LinkSetMasterByIndex(link, bridge.Attrs().Index); err != nil {
				return fmt.Errorf("join %s to the bridge: %w", e.Interface, err)
			}
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s in %s up: %w", e.Interface, e.Node, err)
		}
	}
	return nil
}

// number gives a node its management addresses and routes.
func number(n Node, h *netlink.Handle) error {
	for _, a := range n.Addresses {
		if err := addAddress(h, a); err != nil {
			return err
		}
	}
	for _, r := range n.Routes {
		if err := h.RouteReplace(&netlink.Route{Dst: ipNet(r.To), Gw: r.Via.AsSlice()}); err != nil {
			return fmt.Errorf("route %s via %s: %w", r.To, r.Via, err)
		}
	}
	return nil
}

func addAddress(h *netlink.Handle, a Address) error {
	link, err := h.LinkByName(a.Interface)
	if err != nil {
		return fmt.Errorf("find %s: %w", a.Interface, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(a.Prefix.Bits(), 128)}, Flags: unix.IFA_F_NODAD}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("give %s to %s: %w", a.Prefix, a.Interface, err)
	}
	return becomesLocal(h, a)
}

// becomesLocal waits until the kernel delivers packets to a. Even without
// duplicate address detection it installs the local route from a work queue,
// and until then a node would look for its own address among its neighbours.
func becomesLocal(h *netlink.Handle, a Address) error {
	const step, tries = 5 * time.Millisecond, 1000
	for range tries {
		routes, err := h.RouteGet(a.Prefix.Addr().AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		time.Sleep(step)
	}
	return fmt.Errorf("give %s to %s: the kernel did not make it local within %v", a.Prefix, a.Interface, tries*step)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}
}

// setWire takes both ends of a wire down, as a cut fibre would, or up again.
// Taking an end down makes the kernel forget the addresses and routes on it,
// so raising an access link gives its management addresses back.
func setWire(p *Plan, w Wire, up bool) error {
	for _, e := range w.Ends {
		n := p.node(e.Node)
		err := withHandle(n.Namespace, func(h *netlink.Handle) error {
			link, err := h.LinkByName(e.Interface)
			if err != nil {
				return err
			}
			if up {
				return h.LinkSetUp(link)
			}
			return h.LinkSetDown(link)
		})
		if err != nil {
			return fmt.Errorf("set %s in %s: %w", e.Interface, n.Namespace, err)
		}
	}
	if !up {
		return nil
	}
	for _, e := range w.Ends {
		n := p.node(e.Node)
		err := withHandle(n.Namespace, func(h *netlink.Handle) error { return renumber(*n, e.Interface, h) })
		if err != nil {
			return fmt.Errorf("number %s again: %w", n.Namespace, err)
		}
	}
	return nil
}

// renumber gives back the addresses of one interface, where missing, and the
// routes of its node.
func renumber(n Node, iface string, h *netlink.Handle) error {
	touched := false
	for _, a := range n.Addresses {
		if a.Interface != iface {
			continue
		}
		touched = true
		if err := addAddress(h, a); err != nil && !isExist(err) {
			return err
		}
	}
	if !touched {
		return nil
	}
	for _, r := range n.Routes {
		if err := h.RouteReplace(&netlink.Route{Dst: ipNet(r.To), Gw: r.Via.AsSlice()}); err != nil {
			return fmt.Errorf("route %s via %s: %w", r.To, r.Via, err)
		}
	}
	return nil
}

func withHandle(namespace string, f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", namespace, err)
	}
	defer h.Close()
	return f(h)
}
