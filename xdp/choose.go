package xdp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Lead says which queue's socket gets what is chosen. A socket cannot be given frames that
// came by a queue not its own: those stay the kernel's.
type Lead uint16

// The leads that are no queue's; see OnQueue. As in bpf/direct.c.
const (
	// AnyQueue is the socket of whichever queue a frame came by.
	AnyQueue Lead = 0xffff
	// ByIndex is for a UDP port at which messages of WireGuard come for the sockets of
	// several queues: the lowest byte of the receiver's index in a message is the number of
	// its queue. Messages without one are the first queue's.
	ByIndex Lead = 0xfffe
)

// OnQueue is the socket of one queue.
func OnQueue(n int) Lead { return Lead(n + 1) }

// QueueCount is how many queues an interface of the caller's network namespace has that
// both receive and send.
func QueueCount(name string) (int, error) {
	n, err := openNIC(name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(n.fd)
	_, now, err := n.channels()
	if errors.Is(err, unix.EOPNOTSUPP) {
		return 1, nil // a driver that has nothing to tell has one
	}
	if err != nil {
		return 0, explain("asking for the queues of "+name, err)
	}
	const receiving, sending, combined = 0, 1, 3
	return int(now[combined] + min(now[receiving], now[sending])), nil
}

// Choose changes what a Director made with Changing directs: these UDP ports and
// prefixes, and no others. Packets in between are chosen by some of the old and
// some of the new. After an error the choice is somewhere between both.
func (d *Director) Choose(ports map[uint16]Lead, prefixes map[netip.Prefix]Lead) error {
	d.choosing.Lock()
	defer d.choosing.Unlock()
	masked := make(map[netip.Prefix]Lead, len(prefixes))
	for p, lead := range prefixes {
		if !isIPv6(p.Addr()) {
			return fmt.Errorf("directing %s: not an IPv6 prefix", p)
		}
		masked[p.Masked()] = lead
	}
	key := func(p netip.Prefix) *bpf.DirectDirectPrefix {
		k := &bpf.DirectDirectPrefix{Bits: uint32(p.Bits())}
		k.Addr.B = p.Addr().As16()
		return k
	}
	var errs []error
	for p, lead := range masked {
		if was, there := d.prefixes[p]; !there || was != lead {
			if err := d.objects.Prefixes.Put(key(p), uint16(lead)); err != nil {
				errs = append(errs, fmt.Errorf("directing %s: %w", p, err))
			}
		}
	}
	for p, lead := range ports {
		if d.ports[p] != lead {
			if err := d.objects.UdpPorts.Put(uint32(p), uint16(lead)); err != nil {
				errs = append(errs, fmt.Errorf("directing UDP port %d: %w", p, err))
			}
		}
	}
	for p := range d.prefixes {
		if _, stays := masked[p]; !stays {
			if err := d.objects.Prefixes.Delete(key(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, fmt.Errorf("directing %s no more: %w", p, err))
			}
		}
	}
	for p := range d.ports {
		if _, stays := ports[p]; !stays {
			if err := d.objects.UdpPorts.Put(uint32(p), uint16(0)); err != nil {
				errs = append(errs, fmt.Errorf("directing UDP port %d no more: %w", p, err))
			}
		}
	}
	d.ports, d.prefixes = maps.Clone(ports), masked
	return errors.Join(errs...)
}
