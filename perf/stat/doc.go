// Package stat is the little statistics that measuring needs: intervals of
// confidence, comparisons, and tests of distributions. Pure functions of their
// arguments, safe from any goroutine.
//
//	student.go   Student's t, Welch's comparison of two means
//	share.go     shares: Wilson's interval, Newcombe's comparison of two
//	rank.go      quantiles from ranks, the Kolmogorov-Smirnov distance
package stat
