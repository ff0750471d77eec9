package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dssn/perf/lab"
	"dssn/perf/lab/view"
)

type watchOptions struct {
	id       string
	interval time.Duration
	count    int
}

func watchFlags(cmd *cobra.Command, o *watchOptions) {
	f := cmd.Flags()
	f.StringVar(&o.id, "lab", "", "name of the lab (default: the only one)")
	f.DurationVar(&o.interval, "interval", time.Second, "`time` between pictures")
	f.IntVar(&o.count, "count", 0, "end after so many pictures (default: when interrupted; where the output is no terminal, one)")
}

func labWatchCommand() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show a lab live: links, rates, paths, events (as dssn lab alone does)",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return labWatch(cmd, o) },
	}
	watchFlags(cmd, &o)
	return cmd
}

// labWatch draws pictures one over the other on a terminal, one after the other
// anywhere else.
func labWatch(cmd *cobra.Command, o watchOptions) error {
	if o.interval < 50*time.Millisecond || o.count < 0 {
		return usagef("nothing could be read: give --interval 50ms or more and --count 1 or more")
	}
	l, err := lab.Open(o.id)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	screen, live := w.(*os.File)
	live = live && isScreen(screen) && !asJSON(cmd)
	if o.count == 0 && !live {
		o.count = 1
	}
	observer := l.Observe()
	defer observer.Close()
	ctx := cmd.Context()
	if _, err := observer.Look(ctx); err != nil { // rates are between two pictures
		return err
	}
	if live {
		fmt.Fprint(screen, "\x1b[?1049h\x1b[?25l") // the other screen, no cursor
		defer fmt.Fprint(screen, "\x1b[?25h\x1b[?1049l")
	}
	for n := 1; ; n++ {
		if !pause(ctx, o.interval) {
			return nil
		}
		p, err := observer.Look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case asJSON(cmd):
			err = printJSON(w, p)
		case live:
			draw(screen, p)
		default:
			err = plain(w, p, n)
		}
		if err != nil || n == o.count {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func plain(w io.Writer, p view.Picture, n int) error {
	if n > 1 {
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, strings.Join(view.Lines(p, 132, 0), "\n"))
	return err
}

// draw writes a picture over the one before.
func draw(screen *os.File, p view.Picture) {
	columns, rows := 80, 24
	if size, err := unix.IoctlGetWinsize(int(screen.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		columns, rows = int(size.Col), int(size.Row)
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range view.Lines(p, columns, rows-1) {
		switch {
		case i == 0 || line == "PATHS" || line == "EVENTS" || strings.HasPrefix(line, "  # "):
			line = "\x1b[1m" + line + "\x1b[0m"
		case strings.HasPrefix(line, "! "), strings.Contains(line, " down "):
			line = "\x1b[31m" + line + "\x1b[0m"
		}
		b.WriteString(line + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	fmt.Fprint(screen, b.String())
}
