package bgp

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxPathLength is how many ASes a path may name.
const maxPathLength = 32

// Refusal says why an announcement of prefix by n with an AS path is not taken,
// or "" if it is. path is in the order of the message, nearest AS first. It is
// the rule that the speaker is given in gobgp's own terms (see policies), written
// plainly; a test compares the two.
func (c *Config) Refusal(n *Neighbour, prefix netip.Prefix, path []uint32) string {
	inside := slices.ContainsFunc(n.Allow, func(p netip.Prefix) bool { return p.Bits() <= prefix.Bits() && p.Contains(prefix.Addr()) })
	switch {
	case !inside:
		return fmt.Sprintf("outside what %s is allowed", n.Name)
	case prefix.Bits() > RegionBits:
		return fmt.Sprintf("longer than a region's /%d", RegionBits)
	case slices.Contains(path, c.AS):
		return fmt.Sprintf("our own AS %d is in its path", c.AS)
	case len(path) > maxPathLength:
		return fmt.Sprintf("its path has %d ASes, more than %d", len(path), maxPathLength)
	case n.AS != c.AS && (len(path) == 0 || path[0] != n.AS):
		return fmt.Sprintf("its path does not begin with %s's AS %d", n.Name, n.AS)
	}
	return ""
}

// Regions returns the /48s that hold prefixes, each once and in order.
func Regions(prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		if p.Bits() < RegionBits {
			continue
		}
		if r, err := p.Addr().Prefix(RegionBits); err == nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}
