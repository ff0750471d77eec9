// Package goal prints what a benchmark measured beside what was aimed at, one row of a
// table at a time, so that a run says by itself what was met and what was missed.
package goal

import (
	"fmt"
	"io"
)

// Head begins a table of Rows.
func Head(w io.Writer) {
	fmt.Fprint(w, "\n| | measured | goal | |\n|---|---|---|---|\n")
}

// Row writes one row; both texts carry their units.
func Row(w io.Writer, what, measured, goal string, met bool) {
	fmt.Fprintf(w, "| %s | %s | %s | %s |\n", what, measured, goal, map[bool]string{true: "met", false: "**missed**"}[met])
}
