package northbound

import (
	"net/netip"
	"time"
)

// BGP is how the domain stands with its neighbours (controller/bgp). Routes and
// refusals are in the order of their prefixes.
type BGP struct {
	AS       uint32     `json:"as"`
	RouterID netip.Addr `json:"router_id"`
	// Running says that the speaker's process is there; Restarts counts how often
	// it had to be started again, and Fault is its last word before that.
	Running  bool   `json:"running"`
	Restarts int    `json:"restarts"`
	Fault    string `json:"fault,omitempty"`
	// Announced are the domain's own regions.
	Announced  []netip.Prefix `json:"announced"`
	Neighbours []BGPNeighbour `json:"neighbours"`
	Routes     []BGPRoute     `json:"routes"`
	// Refused are some of the announcements that were not taken, with the reason;
	// BGPNeighbour.Refused counts them all.
	Refused []BGPRefusal `json:"refused"`
}

// BGPNeighbour is a router of another domain, or one of our own.
type BGPNeighbour struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	AS      uint32     `json:"as"`
	// State is RFC 4271's (idle, connect, active, open-sent, open-confirm,
	// established), or "shut": it announced more than it may.
	State string    `json:"state"`
	Since time.Time `json:"since"` // of being established; zero otherwise
	// Taken and Refused count the prefixes that it announces now.
	Taken   int            `json:"taken"`
	Refused int            `json:"refused"`
	Allow   []netip.Prefix `json:"allow"`
	// MaxPrefixes ends the session when it announces more.
	MaxPrefixes uint32 `json:"max_prefixes"`
}

// BGPRoute is a prefix of identifiers that another domain announces.
type BGPRoute struct {
	Prefix    netip.Prefix `json:"prefix"`
	Neighbour string       `json:"neighbour"`
	// Path are the ASes on the way, nearest first; the last is the origin.
	Path    []uint32   `json:"path"`
	NextHop netip.Addr `json:"next_hop"`
	Since   time.Time  `json:"since"`
	// Stale says that the neighbour's speaker is away and expected back (RFC 4724).
	Stale bool `json:"stale"`
}

// BGPRefusal is an announcement that was not taken.
type BGPRefusal struct {
	Prefix    netip.Prefix `json:"prefix"`
	Neighbour string       `json:"neighbour"`
	Why       string       `json:"why"`
}
