// Package protect computes repairs before anything fails, so that nodes can mend
// a path by themselves in milliseconds, and says what survives which failures.
//
// A Protection holds for one primary path
//
//	a backup   an end-to-end path that shares no link, no node but the ends and no
//	           risk group with the primary, or as little of these as exists;
//	detours    for every hop of the primary, the path that the node before it takes
//	           to the destination when that hop, or the node behind it, is gone.
//
// Both come with the segment list that pins them over the forwarding that is in
// force before the failure: nothing needs to converge first.
//
// It is not concerned with who may use how much of what: a backup is not reserved
// capacity, and Survey says which links would be overfull.
//
// Pure functions; safe from any goroutine while nobody changes the graph.
package protect
