package main

import (
	"bytes"
	"testing"
	"time"

	"dssn"
)

func TestProgressIsReadableWithoutAScreen(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out, "fetching", true)
	b.next = time.Time{} // it is time for a line
	b.set(225*dssn.MiB, dssn.GiB, 1880*dssn.Mbps, 4200*time.Millisecond, "beijing → gansu → guizhou")
	b.set(226*dssn.MiB, dssn.GiB, 1880*dssn.Mbps, 4*time.Second, "beijing") // too soon for another
	b.close()
	if want := "fetching [#####...................]  22 %  225.0 MiB of 1.0 GiB  1.88 Gbit/s  4s left  beijing → gansu → guizhou\n"; out.String() != want {
		t.Errorf("it wrote\n%q, want\n%q", out.String(), want)
	}
}

func TestClippedFitsTheScreen(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"over a → b", 10, "over a → b"},
		{"over a → b → c", 10, "over a → …"},
		{"over", 0, "over"}, // a screen that does not say how wide it is
	} {
		if got := clipped(c.text, c.width); got != c.want {
			t.Errorf("clipped(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
