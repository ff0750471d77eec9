package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Neighbour is an address on a link that the kernel knows the link address of.
type Neighbour struct {
	Addr netip.Addr
	MAC  [6]byte
	// Stale says that the kernel would verify it before long if it were used.
	Stale bool
}

// Way is how packets to an address leave.
type Way struct {
	Ifindex int
	Via     netip.Addr // the next hop: a router, or the address itself
	Source  netip.Addr // ours
}

// On returns the IPv6 neighbours on a link.
func (n *Neighbours) On(ifindex int) ([]Neighbour, error) {
	list, err := n.handle.NeighList(ifindex, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list the neighbours on interface %d: %w", ifindex, err)
	}
	var out []Neighbour
	for _, x := range list {
		a, ok := netip.AddrFromSlice(x.IP)
		if !ok || x.State&usable == 0 || len(x.HardwareAddr) != 6 || a.IsMulticast() {
			continue
		}
		out = append(out, Neighbour{Addr: a, MAC: [6]byte(x.HardwareAddr), Stale: x.State&netlink.NUD_STALE != 0})
	}
	return out, nil
}

// Verify has the kernel ask whether a neighbour still has its link address.
func (n *Neighbours) Verify(ifindex int, x Neighbour) error {
	err := n.handle.NeighSet(&netlink.Neigh{LinkIndex: ifindex, Family: netlink.FAMILY_V6, State: netlink.NUD_PROBE,
		IP: x.Addr.AsSlice(), HardwareAddr: x.MAC[:]})
	if err != nil {
		return fmt.Errorf("verify the neighbour %v on interface %d: %w", x.Addr, ifindex, err)
	}
	return nil
}

// To returns the way that packets to an IPv6 address would take.
func (n *Neighbours) To(a netip.Addr) (w Way, err error) {
	routes, err := n.handle.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return w, fmt.Errorf("find the way to %v: %w", a, err)
	}
	r := routes[0]
	w = Way{Ifindex: r.LinkIndex, Via: a}
	if via, ok := netip.AddrFromSlice(r.Gw); ok && !via.IsUnspecified() {
		w.Via = via
	}
	w.Source, _ = netip.AddrFromSlice(r.Src)
	return w, nil
}
