package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dssn/node/softport"
)

func traceCommand() *cobra.Command {
	var outside bool
	cmd := &cobra.Command{
		Use:   "trace INTERFACE PACKET",
		Short: "Say what a running interface would do with a packet",
		Long: `trace gives one packet, in hexadecimal, to the program behind a "dssn wg"
interface and prints what each stage says: by the tables in force, without
sending, counting or policing it.`,
		Example: "  dssn trace wg0 45000014000000004011000a090001…",
		Args:    exactly("INTERFACE", "PACKET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := hex.DecodeString(strings.Map(func(r rune) rune {
				if strings.ContainsRune(" :\n\t", r) {
					return -1
				}
				return r
			}, args[1]))
			if err != nil {
				return usagef("the packet is not hexadecimal: %v", err)
			}
			steps, err := softport.AskTrace(args[0], p, outside)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), steps)
			}
			for _, s := range steps {
				fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s\n", s.Stage, s.Answer)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&outside, "outside", false, "the packet is a sealed datagram from a peer")
	return cmd
}
