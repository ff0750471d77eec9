// Package rfc2544 benchmarks the path between two ends as RFC 2544 benchmarks a
// device: throughput, latency, loss against load, back-to-back bursts (with RFC
// 9004's corrections). The throughput is found by a search that is short and
// repeatable, with ideas of MLRsearch (RFC 9971): what was forwarded under too
// much load says where to look next, bounds are proven by trials of the full
// length, and a load is not judged by one unlucky trial.
//
//	search.go   the search: a core, (outcome of the last trial) → next load
//	burst.go    the search for the longest burst: a core
//	method.go   the four tests, trial after trial
//	result.go   the report
//
// A path through a reservation ends in a policer, which forgives a burst: a trial
// above its rate passes as long as the depth lasts. Every trial is therefore
// preceded by packets that use the depth up (Config.Depth).
package rfc2544
