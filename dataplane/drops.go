package dataplane

// The names under which engines count the packets they drop. They are stable:
// dashboards and tests are written against them. Every engine uses these and
// may add its own.
const (
	DropNoMeter   = "no_meter"  // inside→tunnel: belongs to no reservation
	DropPoliced   = "policed"   // inside→tunnel: above the reservation's rate
	DropNoPeer    = "no_peer"   // inside→tunnel: no peer's Allowed holds the destination
	DropMalformed = "malformed" // inside→tunnel: not a whole IPv4 or IPv6 packet
)
