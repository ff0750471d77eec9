package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"dssn/dataplane/worker"
	"dssn/node"
	"dssn/node/softport"
)

func traceCommand() *cobra.Command {
	var outside bool
	cmd := &cobra.Command{
		Use:   "trace [INTERFACE] PACKET",
		Short: "Say what a running node or interface would do with a packet",
		Long: `trace gives one packet, in hexadecimal, to this node, or to the program behind
a "dssn wg" interface if one is named, and prints what each stage says: by the
tables in force, without sending, counting or policing it.`,
		Example: "  dssn trace 6000000000083b40…\n  dssn trace wg0 45000014000000004011000a090001…",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n < 1 || n > 2 {
				return usagef("want PACKET, or INTERFACE and PACKET, got %d arguments", n)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := hexadecimal(args[len(args)-1])
			if err != nil {
				return err
			}
			var steps []worker.Step
			if len(args) == 2 {
				steps, err = softport.AskTrace(args[0], p, outside)
			} else {
				steps, err = traceHere(cmd, node.TraceRequest{Packet: p, Outside: outside})
			}
			if err != nil {
				return err
			}
			return emit(cmd, steps, func(w io.Writer) error {
				for _, s := range steps {
					fmt.Fprintf(w, "%-8s %s\n", s.Stage, s.Answer)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&outside, "outside", false, "the packet is a sealed datagram from a peer")
	return cmd
}

// hexadecimal reads a packet as people paste it.
func hexadecimal(text string) ([]byte, error) {
	p, err := hex.DecodeString(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :\n\t", r) {
			return -1
		}
		return r
	}, text))
	switch {
	case err != nil:
		return nil, usagef("the packet is not hexadecimal: %v", err)
	case len(p) == 0 || len(p) > worker.MaxPacket:
		return nil, usagef("a packet has 1 to %d bytes, not %d", worker.MaxPacket, len(p))
	}
	return p, nil
}

// traceHere asks the local node.
func traceHere(cmd *cobra.Command, q node.TraceRequest) (steps []worker.Step, err error) {
	c, err := openNode(cmd)
	if err != nil {
		return nil, err
	}
	err = c.call(cmd.Context(), http.MethodPost, "/local/trace", q, &steps)
	return steps, err
}
