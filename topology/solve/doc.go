// Package solve says who gets how much.
//
// # For the controller
//
// MaxMin is the small one: paths are given, one per demand, and it answers at once.
// The controller calls it for every change:
//
//	shares, err := solve.MaxMin(capacity, demands)
//
// with the capacity of every link by index (0 for a link that is down) and, per
// demand, its path, committed rate, ceiling, weight and order (ServiceOrder of its
// class: committed before ceiling, class before class, weight inside a class). It
// returns in the same order a rate and the link that keeps the demand from having
// more. A committed rate that does not fit is an answer, Share.Short, with the link
// that is in the way.
//
// # For planning
//
// Solve chooses paths too, over all paths, generated on demand, for three
// objectives: the greatest total, the greatest common fraction, weighted max-min
// fairness (committed rates first, and class before class where ByClass is set). Its Allocation carries a proof, link
// prices or levels of them, and Verify, a separate small implementation, believes
// only that. A latency bound of a demand is respected by its paths; the verified
// bound is over all paths and so may lie above what the solver knows. Warm starts
// take an earlier Allocation's prices and paths; Stop takes the best answer so far;
// Transition orders the changes so that no link is overloaded on the way.
//
// It is not for admission in time (calendar) nor for what happens at a failure
// before anybody can be asked (protect).
//
// Nothing here does I/O, reads a clock or keeps state between calls; every function
// may be called from any goroutine. A call shares its work among as many goroutines
// as GOMAXPROCS allows and ends them before it returns.
package solve
