package kernel

import (
	"cmp"
	"net/netip"
	"slices"
)

// Protocol is the origin number of every route and address made here
// (rtm_protocol, IFA_PROTO). It is above what the kernel and routing daemons
// have taken (rtnetlink.h).
const Protocol = 213

// Metrics of our routes. They differ from what a person or a daemon uses, so
// that replacing a route of ours never replaces somebody else's. Lower wins.
const (
	MetricPrimary = 213
	MetricBackup  = 214
)

// Kind says what a route does with a packet.
type Kind uint8

// The kinds of routes. Unicast sends it out of an interface. Local delivers it
// to this host, whatever address of the prefix it has (AnyIP). End shifts the
// carrier and routes again: seg6local End with the next-csid flavour, block of
// 32 bits, identifiers of 16 (RFC 9800 §4.1). Unreachable refuses it at once.
const (
	Unicast Kind = iota
	Local
	End
	Unreachable
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Unicast:
		return "unicast"
	case Local:
		return "local"
	case End:
		return "end"
	case Unreachable:
		return "unreachable"
	}
	return "invalid"
}

// Route is one wanted route of the main table. Prefix and Metric tell routes
// apart; a Plan has at most one Route for each pair.
type Route struct {
	Prefix netip.Prefix
	Metric uint32
	Kind   Kind
	// Interface is a name; all kinds but Unicast are always on lo, because an
	// interface that goes down takes its routes along.
	Interface string
	Via       netip.Addr // the next hop on Interface; invalid: on link
	// Source is preferred for packets of this host's own; invalid: the
	// kernel chooses. It must be an address of the host.
	Source netip.Addr
}

// Address is one wanted address.
type Address struct {
	Interface string
	Prefix    netip.Prefix // the address with its prefix length
}

// Setting is one value below /proc/sys, for example
// {"net/ipv6/conf/all/forwarding", "1"}.
type Setting struct{ Name, Value string }

// Plan is everything that should be in the kernel on our behalf.
type Plan struct {
	Addresses []Address
	Routes    []Route
	Settings  []Setting
}

// Sort brings p into its canonical order, in which equal plans are deeply equal.
func (p *Plan) Sort() {
	slices.SortFunc(p.Addresses, func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Prefix.Compare(b.Prefix))
	})
	slices.SortFunc(p.Routes, func(a, b Route) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	slices.SortFunc(p.Settings, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
}

// Equal reports whether two sorted plans say the same.
func (p *Plan) Equal(q *Plan) bool {
	return slices.Equal(p.Addresses, q.Addresses) && slices.Equal(p.Routes, q.Routes) && slices.Equal(p.Settings, q.Settings)
}

// Change is what turns one state of the kernel into another: first new
// addresses, then routes set (added, or replaced where prefix and metric are
// taken), then routes removed, then old addresses.
type Change struct {
	AddAddresses    []Address
	SetRoutes       []Route
	RemoveRoutes    []Route
	RemoveAddresses []Address
}

// Empty reports whether there is nothing to do.
func (c *Change) Empty() bool {
	return len(c.AddAddresses)+len(c.SetRoutes)+len(c.RemoveRoutes)+len(c.RemoveAddresses) == 0
}

type routeKey struct {
	prefix netip.Prefix
	metric uint32
}

func (r Route) key() routeKey { return routeKey{r.Prefix.Masked(), r.Metric} }

// Difference computes the change from what is there to what is wanted.
func Difference(have, want *Plan) Change {
	var c Change
	addresses := make(map[Address]bool, len(have.Addresses))
	for _, a := range have.Addresses {
		addresses[a] = true
	}
	for _, a := range want.Addresses {
		if !addresses[a] {
			c.AddAddresses = append(c.AddAddresses, a)
		}
		delete(addresses, a)
	}
	routes := make(map[routeKey]Route, len(have.Routes))
	for _, r := range have.Routes {
		routes[r.key()] = r
	}
	for _, r := range want.Routes {
		if old, ok := routes[r.key()]; !ok || old != r {
			c.SetRoutes = append(c.SetRoutes, r)
		}
		delete(routes, r.key())
	}
	for _, a := range have.Addresses {
		if addresses[a] {
			c.RemoveAddresses = append(c.RemoveAddresses, a)
		}
	}
	for _, r := range have.Routes {
		if _, left := routes[r.key()]; left {
			c.RemoveRoutes = append(c.RemoveRoutes, r)
			delete(routes, r.key())
		}
	}
	return c
}
