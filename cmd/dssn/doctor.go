package main

import (
	"fmt"
	"io"

	"dssn/xdp"

	"github.com/spf13/cobra"
)

// doctorCommand looks at what a host can do and says what to change. It changes
// nothing itself.
func doctorCommand() *cobra.Command {
	doctor := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can do, and what to change",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	doctor.AddCommand(&cobra.Command{
		Use:   "nic IFACE",
		Short: "Examine a network interface for AF_XDP and transit",
		Long: "Examine a network interface, its driver and this kernel: queues, zero-copy, frame size, NUMA,\n" +
			"interrupt placement, offloads that must be off, huge pages. Each thing to change comes with the\n" +
			"command that changes it; nothing is changed here.",
		Example: "  dssn doctor nic eth0\n  dssn doctor nic eth0 --json",
		Args:    exactly("IFACE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			findings, err := xdp.Examine(args[0])
			if err != nil {
				return err
			}
			return emit(cmd, jsonFindings(findings), func(w io.Writer) error { return printFindings(w, findings) })
		},
	})
	return doctor
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
		out[i] = finding(f)
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
		fmt.Fprintf(w, "  %s: %s\n", f.About, f.Advice)
		if f.Run != "" {
			fmt.Fprintf(w, "      %s\n", f.Run)
		}
	}
	return nil
}
