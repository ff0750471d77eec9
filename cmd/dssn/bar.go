package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"dssn"
)

// bar shows how far something has come: a moving line on a screen, one line a
// second anywhere else. Its methods may be called from one goroutine at a time;
// drawing happens on another.
type bar struct {
	what string
	w    io.Writer
	live *mpb.Progress // nil where w is no screen
	line *mpb.Bar
	next time.Time // of the next line where w is no screen

	route bool // there is a path to show, on a line of its own on a screen

	mu   sync.Mutex // guards tail and path
	tail string
	path string
}

func newBar(w io.Writer, what string, route bool) *bar {
	b := &bar{what: what, w: w, route: route, next: time.Now().Add(time.Second)}
	if f, ok := w.(*os.File); ok && isScreen(f) {
		b.live = mpb.New(mpb.WithOutput(f), mpb.WithWidth(36), mpb.WithRefreshRate(150*time.Millisecond))
	}
	return b
}

// isScreen reports whether f is a terminal.
func isScreen(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// set shows done of total; rate, eta and path are left out where zero.
func (b *bar) set(done, total dssn.ByteCount, rate dssn.Bandwidth, eta time.Duration, path string) {
	tail := progressText(done, total, rate, eta)
	if b.live == nil {
		if now := time.Now(); !now.Before(b.next) {
			b.next = now.Add(time.Second)
			fmt.Fprintln(b.w, strings.TrimRight(fmt.Sprintf("%s %s %s  %s", b.what, drawn(done, total, 24), tail, path), " "))
		}
		return
	}
	b.mu.Lock()
	b.tail, b.path = tail, path
	b.mu.Unlock()
	if b.line == nil {
		b.line = b.start(int64(total))
	}
	b.line.SetCurrent(int64(done))
}

// start puts the bar on the screen.
func (b *bar) start(total int64) *mpb.Bar {
	options := []mpb.BarOption{
		mpb.PrependDecorators(decor.Name(b.what + " ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return " " + b.tail
		})),
	}
	if b.route {
		options = append(options, mpb.BarBtmExtender(mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			_, err := fmt.Fprintln(w, clipped("  over "+b.path, s.AvailableWidth))
			return err
		})))
	}
	return b.live.New(total, mpb.BarStyle().Lbound("[").Filler("█").Tip("▌").Padding(" ").Rbound("]"), options...)
}

// clipped cuts text to a width in letters, with a sign that it was.
func clipped(text string, width int) string {
	if r := []rune(text); len(r) > width && width > 0 {
		return string(r[:width-1]) + "…"
	}
	return text
}

// close ends the drawing; what is on the screen stays.
func (b *bar) close() {
	if b.live == nil {
		return
	}
	if b.line != nil && !b.line.Completed() {
		b.line.Abort(false)
	}
	b.live.Wait()
}

// drawn is a bar of letters, for places without a screen.
func drawn(done, total dssn.ByteCount, width int) string {
	n := 0
	if total > 0 {
		n = int(uint64(width) * uint64(min(done, total)) / uint64(total))
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

func progressText(done, total dssn.ByteCount, rate dssn.Bandwidth, eta time.Duration) string {
	percent := 100.0
	if total > 0 {
		percent = 100 * float64(done) / float64(total)
	}
	s := fmt.Sprintf("%3.0f %%  %s of %s", percent, coarse(done), coarse(total))
	if rate > 0 {
		s += fmt.Sprintf("  %.2f Gbit/s", float64(rate)/1e9)
	}
	if eta > 0 {
		s += fmt.Sprintf("  %s left", eta.Round(time.Second))
	}
	return s
}

// coarse prints an amount with one decimal.
func coarse(n dssn.ByteCount) string {
	units := []struct {
		n    dssn.ByteCount
		name string
	}{{dssn.TiB, "TiB"}, {dssn.GiB, "GiB"}, {dssn.MiB, "MiB"}, {dssn.KiB, "KiB"}}
	for _, u := range units {
		if n >= u.n {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.n), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
