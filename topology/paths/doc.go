// Package paths finds ways through a topology.Graph: constrained shortest
// paths, k shortest paths, disjoint pairs, the network's forwarding trees and
// the segment lists that pin a path over that forwarding.
//
// The metric is one-way latency in microseconds everywhere. Ties are broken the
// same way everywhere: fewer hops, then, at each node on the way, the smallest
// index of the link taken towards the destination. So Shortest without
// constraints is exactly the way that hop-by-hop forwarding by NextHops goes.
// Links that are down or drained are never used.
//
// All functions are pure and safe to call from any goroutine while nobody
// changes the graph; a Forwarding belongs to one goroutine.
package paths
