package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// attrAddressOrigin is IFA_PROTO (linux/if_addr.h, kernel 5.18).
const attrAddressOrigin = 11

// Present reads from the kernel what carries our origin number. Routes that are
// ours but that no Plan could ask for (of another kind or shape) come back with
// an invalid Kind, so that Realise replaces or removes them.
func (k *Host) Present() (*Plan, error) {
	names, err := k.names()
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	if err := k.presentRoutes(p, names); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	if err := k.presentAddresses(p, names); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	p.Sort()
	return p, nil
}

// names maps interface indexes to names.
func (k *Host) names() (map[uint32]string, error) {
	links, err := k.handle.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make(map[uint32]string, len(links))
	for _, l := range links {
		out[uint32(l.Attrs().Index)] = l.Attrs().Name
	}
	return out, nil
}

const kindUnknown Kind = 255

func (k *Host) presentRoutes(p *Plan, names map[uint32]string) error {
	req := k.request(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	head := nl.NewRtMsg()
	head.Family = unix.AF_INET6
	req.AddData(head)
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if r, ok := parseRoute(m, names); ok {
			p.Routes = append(p.Routes, r)
		}
	}
	return nil
}

// parseRoute reads one route message; ok is false unless it is ours, of IPv6
// and in the main table.
func parseRoute(m []byte, names map[uint32]string) (r Route, ok bool) {
	// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope,
	// type, then 32 bits of flags.
	if len(m) < unix.SizeofRtMsg || m[0] != unix.AF_INET6 || m[4] != unix.RT_TABLE_MAIN || m[5] != Protocol {
		return r, false
	}
	if binary.NativeEndian.Uint32(m[8:])&unix.RTM_F_CLONED != 0 {
		return r, false
	}
	a := attributes(m[unix.SizeofRtMsg:])
	dst, _ := netip.AddrFromSlice(a[unix.RTA_DST])
	if !dst.IsValid() {
		dst = netip.IPv6Unspecified()
	}
	r = Route{Prefix: netip.PrefixFrom(dst, int(m[1])), Kind: kindUnknown}
	if v := a[unix.RTA_PRIORITY]; len(v) == 4 {
		r.Metric = binary.NativeEndian.Uint32(v)
	}
	if v := a[unix.RTA_OIF]; len(v) == 4 {
		r.Interface = names[binary.NativeEndian.Uint32(v)]
	}
	r.Via, _ = netip.AddrFromSlice(a[unix.RTA_GATEWAY])
	r.Source, _ = netip.AddrFromSlice(a[unix.RTA_PREFSRC])
	encap, tunnelled := a[unix.RTA_ENCAP]
	switch {
	case m[7] == unix.RTN_UNICAST && !tunnelled:
		r.Kind = Unicast
	case m[7] == unix.RTN_LOCAL && !tunnelled:
		r.Kind = Local
	case m[7] == unix.RTN_UNREACHABLE && !tunnelled:
		r.Kind = Unreachable
	case m[7] == unix.RTN_LOCAL && isNextCSID(encap):
		r.Kind = End
	}
	return r, true
}

func (k *Host) presentAddresses(p *Plan, names map[uint32]string) error {
	req := k.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfAddrmsg(unix.AF_INET6))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	if err != nil {
		return err
	}
	for _, m := range messages {
		// struct ifaddrmsg: family, prefixlen, flags, scope, 32 bits of index.
		if len(m) < unix.SizeofIfAddrmsg || m[0] != unix.AF_INET6 {
			continue
		}
		a := attributes(m[unix.SizeofIfAddrmsg:])
		origin := a[attrAddressOrigin]
		addr, ok := netip.AddrFromSlice(a[unix.IFA_ADDRESS])
		if !ok || len(origin) != 1 || origin[0] != Protocol {
			continue
		}
		p.Addresses = append(p.Addresses, Address{names[binary.NativeEndian.Uint32(m[4:])], netip.PrefixFrom(addr, int(m[1]))})
	}
	return nil
}

// address adds or removes an address. Duplicate address detection is off: the
// addresses are ours by certificate, and its second would be the longest part
// of joining.
func (k *Host) address(verb int, a Address) error {
	fail := func(err error) error {
		what := "add"
		if verb == unix.RTM_DELADDR {
			what = "remove"
		}
		return fmt.Errorf("%s address %v on %s: %w", what, a.Prefix, a.Interface, err)
	}
	link, err := k.handle.LinkByName(a.Interface)
	if err != nil {
		return fail(err)
	}
	flags := unix.NLM_F_ACK
	if verb == unix.RTM_NEWADDR {
		flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	req := k.request(verb, flags)
	head := nl.NewIfAddrmsg(unix.AF_INET6)
	head.Index = uint32(link.Attrs().Index)
	head.Prefixlen = uint8(a.Prefix.Bits())
	req.AddData(head)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.Prefix.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)))
	req.AddData(nl.NewRtAttr(attrAddressOrigin, []byte{Protocol}))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		if verb == unix.RTM_DELADDR && err == unix.EADDRNOTAVAIL {
			return nil // went with its interface
		}
		return fail(err)
	}
	return nil
}

// request makes a netlink request. The module's handle gives its sockets only
// to its own requests, so these open one each.
func (k *Host) request(kind, flags int) *nl.NetlinkRequest {
	return nl.NewNetlinkRequest(kind, flags)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
