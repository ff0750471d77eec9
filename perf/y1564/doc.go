// Package y1564 accepts services as ITU-T Y.1564 does: a configuration test of
// each (steps up to the committed rate, the excess, the policing), then all of
// them at once at their committed rates, each judged against what was sold.
//
//	judge.go   steps and verdicts: a core
//	method.go  the two tests
//	result.go  the report
package y1564
