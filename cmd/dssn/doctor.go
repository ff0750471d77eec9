package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dssn/xdp"

	"github.com/spf13/cobra"
)

// doctorCommand looks at what a host can do and says what to change. It changes
// only what it is asked to, and can bring back what was.
func doctorCommand() *cobra.Command {
	doctor := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can do, and what to change",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	doctor.AddCommand(doctorNICCommand())
	return doctor
}

func doctorNICCommand() *cobra.Command {
	var apply, undo bool
	cmd := &cobra.Command{
		Use:   "nic IFACE",
		Short: "Examine a network interface for AF_XDP and transit",
		Long: "Examine a network interface, its driver and this kernel: queues and how flows are dealt to them,\n" +
			"zero-copy, frame size, NUMA, interrupt placement, offloads that must be off, huge pages. Each thing\n" +
			"to change comes with the command that changes it. With --apply those that are not a matter of choice\n" +
			"are changed, and what was is kept under " + nicFolder + "; --undo brings it back.",
		Example: "  dssn doctor nic eth0\n  dssn doctor nic eth0 --json\n  dssn doctor nic eth0 --apply\n  dssn doctor nic eth0 --undo",
		Args:    exactly("IFACE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if apply && undo {
				return usagef("--apply and --undo contradict each other: give one of them")
			}
			if undo {
				return undoNIC(cmd, args[0])
			}
			findings, err := xdp.Examine(args[0])
			if err != nil {
				return err
			}
			if apply {
				return applyNIC(cmd, args[0], findings)
			}
			return emit(cmd, jsonFindings(findings), func(w io.Writer) error { return printFindings(w, findings) })
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "change what should be changed")
	cmd.Flags().BoolVar(&undo, "undo", false, "bring back what was before --apply")
	return cmd
}

// nicFolder keeps what was before --apply until the next boot, as long as the settings
// themselves last.
const nicFolder = "/run/dssn"

func nicFile(iface string) string { return filepath.Join(nicFolder, "nic-"+iface+".json") }

// earlier reads what --apply has changed so far.
func earlier(iface string) (list []xdp.Change, err error) {
	b, err := os.ReadFile(nicFile(iface))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was changed before: %w; look at %s", err, nicFile(iface))
	}
	return list, nil
}

func applyNIC(cmd *cobra.Command, iface string, findings []xdp.Finding) error {
	before, err := earlier(iface)
	if err != nil {
		return err
	}
	done, err := xdp.Apply(iface, findings, func(list []xdp.Change) error {
		b, err := json.MarshalIndent(slices.Concat(before, list), "", "\t")
		if err == nil {
			err = os.MkdirAll(nicFolder, 0o755)
		}
		if err == nil {
			err = os.WriteFile(nicFile(iface), b, 0o600)
		}
		if err != nil {
			return fmt.Errorf("keep what was, without which nothing is changed: %w", err)
		}
		return nil
	})
	return errors.Join(emit(cmd, changesOf(done), func(w io.Writer) error {
		if len(done) == 0 {
			_, err := fmt.Fprintf(w, "nothing of %s was changed\n", iface)
			return err
		}
		return printChanges(w, done, false)
	}), err)
}

func undoNIC(cmd *cobra.Command, iface string) error {
	list, err := earlier(iface)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("nothing of %s was changed by --apply since this host started", iface)
	}
	if err := xdp.Revert(iface, list); err != nil {
		return err
	}
	if err := os.Remove(nicFile(iface)); err != nil {
		return fmt.Errorf("forget what was: %w", err)
	}
	os.Remove(nicFolder) // unless something else is there
	return emit(cmd, changesOf(list), func(w io.Writer) error { return printChanges(w, list, true) })
}

func changesOf(list []xdp.Change) []xdp.Change { return append([]xdp.Change{}, list...) }

func printChanges(w io.Writer, list []xdp.Change, back bool) error {
	return table(w, func(row func(string, ...any)) {
		for _, c := range list {
			if back {
				c.Was, c.Is = c.Is, c.Was
			}
			row("%s\t%s: %s → %s", c.About, c.Setting, brief(c.Was), brief(c.Is))
		}
	})
}

// brief shortens a long row of numbers.
func brief(s string) string {
	if f := strings.Fields(s); len(f) > 8 {
		return strings.Join(f[:8], " ") + fmt.Sprintf(" … (%d)", len(f))
	}
	return s
}

// finding is an xdp.Finding as values.
type finding struct {
	About  string `json:"about"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
	Run    string `json:"run,omitempty"`
}

func jsonFindings(list []xdp.Finding) []finding {
	out := make([]finding, len(list))
	for i, f := range list {
		out[i] = finding{f.About, f.Found, f.Advice, f.Run}
	}
	return out
}

// printFindings lists what was found, and below it what to change.
func printFindings(w io.Writer, list []xdp.Finding) error {
	if err := table(w, func(row func(string, ...any)) {
		for _, f := range list {
			row("%s\t%s", f.About, f.Found)
		}
	}); err != nil {
		return err
	}
	first := true
	for _, f := range list {
		if f.Advice == "" {
			continue
		}
		if first {
			fmt.Fprintln(w, "\nTo change:")
			first = false
		}
		if f.Advice != "likewise" {
			fmt.Fprintf(w, "  %s: %s\n", f.About, f.Advice)
		}
		if f.Run != "" {
			fmt.Fprintf(w, "      %s\n", f.Run)
		}
	}
	return nil
}
