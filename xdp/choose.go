package xdp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
)

// Choose changes what a Director made with Changing directs: these UDP ports and
// prefixes, and no others. Packets in between are chosen by some of the old and
// some of the new. After an error the choice is somewhere between both.
func (d *Director) Choose(ports []uint16, prefixes []netip.Prefix) error {
	d.choosing.Lock()
	defer d.choosing.Unlock()
	wantPorts, wantPrefixes := map[uint16]bool{}, map[netip.Prefix]bool{}
	for _, p := range ports {
		wantPorts[p] = true
	}
	for _, p := range prefixes {
		if !isIPv6(p.Addr()) {
			return fmt.Errorf("directing %s: not an IPv6 prefix", p)
		}
		wantPrefixes[p.Masked()] = true
	}
	key := func(p netip.Prefix) *bpf.DirectDirectPrefix {
		k := &bpf.DirectDirectPrefix{Bits: uint32(p.Bits())}
		k.Addr.B = p.Addr().As16()
		return k
	}
	var errs []error
	for p := range wantPrefixes {
		if !d.prefixes[p] {
			if err := d.objects.Prefixes.Put(key(p), uint8(1)); err != nil {
				errs = append(errs, fmt.Errorf("directing %s: %w", p, err))
			}
		}
	}
	for p := range wantPorts {
		if !d.ports[p] {
			if err := d.objects.UdpPorts.Put(uint32(p), uint8(1)); err != nil {
				errs = append(errs, fmt.Errorf("directing UDP port %d: %w", p, err))
			}
		}
	}
	for _, p := range slices.Collect(maps.Keys(d.prefixes)) {
		if !wantPrefixes[p] {
			if err := d.objects.Prefixes.Delete(key(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, fmt.Errorf("directing %s no more: %w", p, err))
			}
		}
	}
	for _, p := range slices.Collect(maps.Keys(d.ports)) {
		if !wantPorts[p] {
			if err := d.objects.UdpPorts.Put(uint32(p), uint8(0)); err != nil {
				errs = append(errs, fmt.Errorf("directing UDP port %d no more: %w", p, err))
			}
		}
	}
	d.ports, d.prefixes = wantPorts, wantPrefixes
	return errors.Join(errs...)
}
