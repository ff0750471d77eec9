// Package topology knows what the network looks like: its nodes, its directed
// links, what they can carry and what is wrong with them. What is made of it lives in the
// packages below:
//
//	topology/paths     shortest, k shortest and disjoint paths; segment lists
//	topology/solve     who gets how much over which paths, with a proof
//	topology/protect   precomputed repairs, and what survives which failure
//	topology/calendar  capacity over time: reservations and bulk transfers
//	topology/bound     delay and backlog bounds (network calculus)
//
// Everything here is a pure function on plain data: no clock, no socket, no
// goroutine that outlives its call, no I/O but readers and writers on byte
// slices. Nothing is imported but the dictionary, package dssn.
//
// # How the controller uses it
//
// Build (or Read) a Graph when nodes join or leave; between these, Clone it and
// use the setters, then publish the clone. For one reservation:
//
//	path, err := paths.Shortest(g, src, dst, paths.Constraint{MaxLatency: d, Free: free, MinFree: rate})
//	waypoints, err := paths.Segments(g, path)            // node indexes, the egress last
//	carrier, err := paths.Carrier(g, block, waypoints)   // the one address
//	routes := paths.NextHops(g, dst)                     // link index per node towards dst
//	shares, err := solve.MaxMin(capacity, demands)       // rates and who is limited by what
//
// Forwarding between waypoints is the single next hop of paths.NextHops: least
// latency, then fewest hops, then the smallest link index. Nodes must be
// programmed with exactly these routes, or the carriers do not pin their paths.
package topology
