package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/perf/capture"
	"dssn/perf/lab"
)

// captured is one frame, as --json shows it.
type captured struct {
	At    time.Time `json:"at"`
	Way   string    `json:"way"`
	Bytes int       `json:"bytes"`
	Is    string    `json:"is"`
	Fate  string    `json:"fate,omitempty"`
}

func labCaptureCommand() *cobra.Command {
	var id, path string
	var count uint64
	cmd := &cobra.Command{
		Use:   "capture LINK",
		Short: "Watch the frames of a link: in words, or in a pcapng file with the words in it",
		Long: `Shows each frame of a link in one line: who to whom, the NEXT-CSID carrier with
the nodes that it still leads through, and the header of a WireGuard message. With
-o the frames go to a pcapng file, whose comments are those lines.

On an emulated wire every frame is seen as it enters, with what becomes of it. On
a plain link it is the kernel of the first end that sees them.

  dssn lab capture beijing-gansu
  dssn lab capture beijing-gansu -o beijing-gansu.pcapng --count 1000
  dssn lab capture beijing-gansu -o - | wireshark -k -i -`,
		Args: exactly("LINK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(id)
			if err != nil {
				return err
			}
			c, err := l.Capture(args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			if c.Blind != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "dssn: %s\n", c.Blind)
			}
			names := l.SIDNames()
			d := capture.Describer{Name: func(s dssn.SID) string { return names[s] }}
			show, finish, err := shower(cmd, c, path)
			if err != nil {
				return err
			}
			seen := uint64(0)
			for f := (lab.Frame{}); count == 0 || seen < count; seen++ {
				if err = c.Next(cmd.Context(), &f); err != nil {
					break
				}
				if err = show(f, captured{f.At, c.Ways[f.Way], len(f.Data), d.Describe(f.Data), f.Fate}); err != nil {
					break
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if err := errors.Join(err, finish()); err != nil {
				return err
			}
			missed := ""
			if n := c.Missed(); n > 0 {
				missed = fmt.Sprintf(", %d passed unseen because this program was too slow", n)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d frames of %s captured%s\n", seen, c.Wire.Name, missed)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "lab", "", "name of the lab (default: the only one)")
	f.StringVarP(&path, "output", "o", "", "pcapng `file` to write; - is standard output")
	f.Uint64Var(&count, "count", 0, "end after so many frames (default: when interrupted)")
	return cmd
}

// shower decides where frames go: a file, words, or JSON lines.
func shower(cmd *cobra.Command, c *lab.Capture, path string) (show func(lab.Frame, captured) error, finish func() error, err error) {
	out := cmd.OutOrStdout()
	if path == "" {
		return func(_ lab.Frame, v captured) error {
			if asJSON(cmd) {
				return printJSON(out, v)
			}
			fate := ""
			if v.Fate != "" {
				fate = "  [" + v.Fate + "]"
			}
			_, err := fmt.Fprintf(out, "%s %s %d B  %s%s\n", v.At.Format("15:04:05.000000"), v.Way, v.Bytes, v.Is, fate)
			return err
		}, func() error { return nil }, nil
	}
	var file io.WriteCloser = nopCloser{out}
	if path != "-" {
		if file, err = os.Create(path); err != nil {
			return nil, nil, fmt.Errorf("write the capture: %w; choose another place with -o", err)
		}
	}
	b := bufio.NewWriterSize(file, 1<<16)
	w, err := capture.NewWriter(b, "dssn "+thisVersion().Version, "link "+c.Wire.Name, c.Ways[0], c.Ways[1])
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return func(f lab.Frame, v captured) error {
			comment := v.Is
			if v.Fate != "" {
				comment += "; " + v.Fate
			}
			if err := w.Packet(f.Way, f.At, f.Data, capture.Unknown, comment); err != nil {
				return err
			}
			if path == "-" {
				return b.Flush() // somebody is looking
			}
			return nil
		}, func() error {
			return errors.Join(b.Flush(), file.Close())
		}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
