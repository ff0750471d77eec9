package bgp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
)

// Format names the configuration's format.
const Format = "dssn-bgp/1"

// RegionBits is the length of what is announced: a region of identifiers.
const RegionBits = 48

// Config is how a domain speaks BGP. Read checks it and fills in the defaults.
type Config struct {
	Format string `json:"format"`
	// AS is the domain's autonomous system.
	AS uint32 `json:"as"`
	// RouterID is the speaker's 32-bit name, in IPv4's notation. The default is
	// made from the AS and the operator's prefix.
	RouterID netip.Addr `json:"router_id"`
	// Listen is the address and port at which neighbours may call; the default
	// is none: then it is always this side that calls, and no privilege is needed.
	Listen string `json:"listen,omitempty"`
	// NextHop is the border router's address that neighbours are told; the
	// default is this end of each session.
	NextHop netip.Addr `json:"next_hop"`
	// HoldSeconds of silence end a session; default 30, at least 3.
	HoldSeconds int `json:"hold_seconds,omitempty"`
	// RestartSeconds is how long neighbours keep the routes while this speaker is
	// away; default 120, at most 4095 (RFC 4724 has 12 bits for it).
	RestartSeconds int `json:"restart_seconds,omitempty"`
	// Announce are the regions to announce; the default is every /48 in which
	// an institution has its prefix.
	Announce   []netip.Prefix `json:"announce,omitempty"`
	Neighbours []Neighbour    `json:"neighbours"`
}

// Neighbour is another domain's router, or one of our own.
type Neighbour struct {
	Name    string     `json:"name"` // what people call it: letters, digits, dots and dashes
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port,omitempty"` // default 179
	AS      uint32     `json:"as"`
	// Allow are the prefixes inside which it may announce; nothing else is taken.
	Allow []netip.Prefix `json:"allow"`
	// MaxPrefixes ends the session when it announces more; default 1000.
	MaxPrefixes uint32 `json:"max_prefixes,omitempty"`
	// Hops is how many routers away it may be; default 1, on a link of ours.
	Hops uint8 `json:"hops,omitempty"`
	// Password authenticates the session's segments (TCP MD5, RFC 2385).
	Password string `json:"password,omitempty"`
}

const (
	defaultHold        = 30
	defaultRestart     = 120
	defaultMaxPrefixes = 1000
	maxNeighbours      = 256
	maxRestart         = 1<<12 - 1
)

var neighbourName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// Read reads a configuration for the domain of operator, a /32. Unknown keys
// are refused. The error is one sentence that says what to correct.
func Read(text []byte, operator netip.Prefix) (*Config, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	c := &Config{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("not understood: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something stands behind the object")
	}
	c.defaults(operator)
	return c, c.check(operator)
}

func (c *Config) defaults(operator netip.Prefix) {
	if !c.RouterID.IsValid() {
		sum := sha256.Sum256(fmt.Appendf(nil, "dssn router id %d %s", c.AS, operator))
		binary.BigEndian.PutUint32(sum[:], binary.BigEndian.Uint32(sum[:])|1) // never zero
		c.RouterID = netip.AddrFrom4([4]byte(sum[:4]))
	}
	if c.HoldSeconds == 0 {
		c.HoldSeconds = defaultHold
	}
	if c.RestartSeconds == 0 {
		c.RestartSeconds = defaultRestart
	}
	for i := range c.Neighbours {
		n := &c.Neighbours[i]
		if n.Port == 0 {
			n.Port = 179
		}
		if n.MaxPrefixes == 0 {
			n.MaxPrefixes = defaultMaxPrefixes
		}
		if n.Hops == 0 {
			n.Hops = 1
		}
	}
}

func (c *Config) check(operator netip.Prefix) error {
	switch {
	case c.Format != Format:
		return fmt.Errorf("the format is %q, not %q", c.Format, Format)
	case !usableAS(c.AS):
		return fmt.Errorf("%d is no AS of a domain: write the one that the registry gave you, or a private one such as 64512", c.AS)
	case !c.RouterID.Is4() || c.RouterID.IsUnspecified():
		return fmt.Errorf("the router_id %s is not 32 bits: write it like an IPv4 address, or leave it out", c.RouterID)
	case c.HoldSeconds < 3 || c.HoldSeconds > 65535:
		return fmt.Errorf("hold_seconds %d is not between 3 and 65535", c.HoldSeconds)
	case c.RestartSeconds < 1 || c.RestartSeconds > maxRestart:
		return fmt.Errorf("restart_seconds %d is not between 1 and %d", c.RestartSeconds, maxRestart)
	case c.NextHop.IsValid() && (!c.NextHop.Is6() || c.NextHop.IsLinkLocalUnicast() || c.NextHop.IsMulticast()):
		return fmt.Errorf("the next_hop %s is not a global IPv6 address", c.NextHop)
	case len(c.Neighbours) == 0:
		return errors.New("there is no neighbour: name one, or leave the file out")
	case len(c.Neighbours) > maxNeighbours:
		return fmt.Errorf("there are %d neighbours, more than %d", len(c.Neighbours), maxNeighbours)
	}
	if c.Listen != "" {
		if _, err := netip.ParseAddrPort(c.Listen); err != nil {
			return fmt.Errorf("listen %q is not an address and port such as [::]:179", c.Listen)
		}
	}
	for _, p := range c.Announce {
		if p.Bits() != RegionBits || p != p.Masked() || !operator.Contains(p.Addr()) {
			return fmt.Errorf("announce %s is not a region of ours: write a /%d inside %s", p, RegionBits, operator)
		}
	}
	names, addresses := map[string]bool{}, map[netip.Addr]string{}
	for _, n := range c.Neighbours {
		if err := n.check(operator); err != nil {
			return err
		}
		if names[n.Name] {
			return fmt.Errorf("two neighbours are called %q", n.Name)
		}
		if other, taken := addresses[n.Address]; taken {
			return fmt.Errorf("the neighbours %q and %q have the same address %s", other, n.Name, n.Address)
		}
		names[n.Name], addresses[n.Address] = true, n.Name
	}
	return nil
}

func (n *Neighbour) check(operator netip.Prefix) error {
	switch {
	case !neighbourName.MatchString(n.Name):
		return fmt.Errorf("%q cannot name a neighbour: use letters, digits, dots and dashes", n.Name)
	case !n.Address.Is6() || n.Address.Is4In6() || n.Address.IsMulticast() || n.Address.IsUnspecified() || n.Address.Zone() != "":
		return fmt.Errorf("the neighbour %s has the address %q: write a global IPv6 address", n.Name, n.Address)
	case !usableAS(n.AS):
		return fmt.Errorf("the neighbour %s has the AS %d, which no domain has", n.Name, n.AS)
	case len(n.Allow) == 0:
		return fmt.Errorf("the neighbour %s is allowed nothing: write the prefixes that are its own in allow", n.Name)
	case len(n.Password) > 80:
		return fmt.Errorf("the password of %s is longer than 80 letters", n.Name)
	}
	for _, p := range n.Allow {
		switch {
		case !p.IsValid() || !p.Addr().Is6() || p != p.Masked() || p.Bits() < 16 || p.Bits() > RegionBits:
			return fmt.Errorf("allow %s of %s is not a prefix of /16 to /%d", p, n.Name, RegionBits)
		case p.Overlaps(operator):
			return fmt.Errorf("allow %s of %s overlaps our own %s", p, n.Name, operator)
		}
	}
	if i := slices.IndexFunc(n.Allow, func(p netip.Prefix) bool { return p.Overlaps(netip.MustParsePrefix("5f00::/16")) }); i >= 0 {
		return fmt.Errorf("allow %s of %s holds locators, which stay within a domain", n.Allow[i], n.Name)
	}
	return nil
}

// usableAS refuses the numbers that no domain has (RFC 7607, RFC 6793, RFC 7300).
func usableAS(as uint32) bool {
	return as != 0 && as != 23456 && as != 65535 && as != 1<<32-1
}

// neighbour finds a neighbour by its address.
func (c *Config) neighbour(a netip.Addr) *Neighbour {
	for i := range c.Neighbours {
		if c.Neighbours[i].Address == a {
			return &c.Neighbours[i]
		}
	}
	return nil
}
