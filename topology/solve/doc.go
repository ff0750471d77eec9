// Package solve says who gets how much.
//
// MaxMin, in this file's neighbour shares.go, is the small one: paths are given,
// one per demand, and it answers at once. The controller calls it for every
// change:
//
//	shares, err := solve.MaxMin(capacity, demands)
//
// with the capacity of every link by index (0 for a link that is down) and, per
// demand, its path, committed rate, ceiling, weight and order. It returns in the
// same order a rate and the link that keeps the demand from having more. It is
// also the slow, obvious twin of the engine's own water-filling.
//
// Nothing here does I/O, reads a clock or keeps state between calls; every
// function may be called from any goroutine.
package solve
