// Package core is the controller without a machine: one value whose only way to
// change is
//
//	reply, effects, err := c.Step(now, input)
//
// Inputs are journaled by the shell (package controller) before they are given
// to Step, so the state is the fold of the journal: replaying it gives the same
// state, the same assignments, the same bill and the same bug. There is no
// clock, no randomness, no I/O and no goroutine here; time and random numbers
// are part of the input.
//
//	input.go      what can be said to the core, and what it answers
//	state.go      what is remembered
//	registry.go   institutions, tokens, nodes
//	catalogue.go  datasets, grants
//	network.go    what nodes see of links, and what they say of themselves
//	graph.go      the backbone and its terminals: graph, forwarding, segments
//	routing.go    one path and its repairs per ordered pair of edges
//	contract.go   reservations: hold, commit, modify, release; refusals
//	admit.go      what is asked for and whether it fits: promises.go (the calendar),
//	              bounds.go (delays), bulk.go, boost.go, term.go (windows), leave.go
//	rank.go       who gives way; repack.go: better paths that were found outside
//	resize.go     what a change of rate lost; who sends; why.go: what changed, and why
//	share.go      what everybody is allocated
//	assign.go     what each node is told
//	usage.go      counters and deliveries of both ends, usage records, receipts
//	due.go        what ends by itself
//	tally.go      what is looked up instead of walked over
//	metering.go   intervals of what was metered; dispute.go where the ends disagree
//	billing.go    drafts and issued bills; statement.go what both ends have signed
//	query.go      questions, which change nothing
//
// A Core belongs to one goroutine at a time, queries included: they fill caches
// of what follows from the state. What queries return is the caller's own,
// except for assignments, which nobody changes.
package core
