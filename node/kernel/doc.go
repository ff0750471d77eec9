// Package kernel is the node's door to the host's kernel: it makes links,
// addresses, routes and settings what a Plan says, and tells what links do.
//
// A Plan is plain comparable data and can be computed and compared anywhere; a
// Host realises it in the network namespace of the thread that opened it. Every
// route and address made here carries an origin number of our own (Protocol),
// so that whatever a killed process left behind is found again: the next Realise
// adopts or removes it, and Remove removes all of it.
//
// The package decides nothing: which routes are wanted is the node core's work.
// A Host is owned by one goroutine at a time; WatchLinks may run beside it.
package kernel
