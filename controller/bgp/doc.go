// Package bgp lets an operator's domain tell its neighbours' routers which
// identifiers are its own, as the /48s of its regions, and hear which are theirs
// (RFC 4271 with RFC 4760's IPv6 unicast).
//
// The speaker is osrg/gobgp, whose parser of UPDATE messages panics on some
// hostile input with nobody to recover. So it runs in a process of its own:
// Supervise starts `dssn controller bgp run` (Serve), speaks with it by lines of
// JSON on its standard input and output, and starts it again when it dies. To the
// neighbours that is a graceful restart (RFC 4724): they keep the routes while it
// is away.
//
// Nothing is believed by default: a route is taken only inside what the
// configuration allows its neighbour, not longer than a region, with the
// neighbour's own AS first in its path, and up to a number of prefixes per
// neighbour (Refusal says which rule an announcement broke). Nothing but the
// domain's own is announced: a domain is not a transit network.
//
// It programs no kernel and moves no packet: what it learns is shown
// (`dssn status`). Supervisor is safe for concurrent use.
package bgp
