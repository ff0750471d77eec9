package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbours is the door to the kernel's neighbour table. Methods are called by one
// goroutine at a time.
type Neighbours struct{ handle *netlink.Handle }

// OpenNeighbours opens the table of the calling thread's network namespace.
func OpenNeighbours() (*Neighbours, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Neighbours{h}, nil
}

// Close closes the door.
func (n *Neighbours) Close() { n.handle.Close() }

// usable are the states in which the kernel itself would send to the address.
const usable = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP

// Resolve returns the Ethernet address of a neighbour on a link, as the kernel knows
// it; ok is false if it does not, or no longer is sure. Either way the kernel is made
// to ask the neighbour when that is due, as if a packet had been sent: ask again
// after some milliseconds.
func (n *Neighbours) Resolve(ifindex int, a netip.Addr) (mac [6]byte, ok bool, err error) {
	a = a.WithZone("")
	list, err := n.handle.NeighList(ifindex, netlink.FAMILY_V6)
	if err != nil {
		return mac, false, fmt.Errorf("read the neighbours of interface %d: %w", ifindex, err)
	}
	for _, e := range list {
		if is, _ := netip.AddrFromSlice(e.IP); is == a && e.State&usable != 0 && len(e.HardwareAddr) == 6 {
			copy(mac[:], e.HardwareAddr)
			ok = true
		}
	}
	use := &netlink.Neigh{LinkIndex: ifindex, Family: netlink.FAMILY_V6, IP: a.AsSlice(), Flags: netlink.NTF_USE}
	if err := n.handle.NeighSet(use); err != nil {
		return mac, ok, fmt.Errorf("resolve %v on interface %d: %w", a, ifindex, err)
	}
	return mac, ok, nil
}
