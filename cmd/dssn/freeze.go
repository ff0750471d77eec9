package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

// parseFrozen tells data from a party: an identifier, a prefix of any length (an
// operator may stop everything), or else a name.
func parseFrozen(s string) (q northbound.FreezeRequest, err error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if !p.Addr().Is6() {
			return q, usagef("%s is not a prefix of identifiers: write an IPv6 prefix", p)
		}
		q.Data = p.Masked()
		return q, nil
	}
	if id, err := dssn.ParseDataID(s); err == nil && id.Kind() != dssn.KindNode {
		q.Data = id.Prefix()
		return q, nil
	}
	if strings.HasPrefix(s, "dssn://") {
		_, err := dssn.ParseDataID(s)
		return q, usageError{err}
	}
	q.Party = s
	return q, nil
}

func freezeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "freeze IDENTIFIER|PREFIX|PARTY --reason TEXT",
		Short: "Stop all reach of data, or of an institution or node, at once",
		Long: `A freeze outranks every grant. It is in force everywhere as soon as the
connected nodes have their next assignment: tunnels and answers under way end,
and whoever asks is told the reason. It is a leaf of the evidence log, and names
the transfers that were in flight.`,
		Args: exactly("IDENTIFIER|PREFIX|PARTY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := parseFrozen(args[0])
			if err != nil {
				return err
			}
			if q.Reason = reason; reason == "" {
				return usagef("a freeze needs a reason, which those whom it stops will read: give one with --reason")
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var f northbound.Freeze
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/freezes", q, &f); err != nil {
				return err
			}
			return emit(cmd, f, func(w io.Writer) error {
				fmt.Fprintf(w, "freeze %s: nobody reaches %s any more\n", f.ID, frozenText(f))
				if len(f.InFlight) == 0 {
					_, err := fmt.Fprintln(w, "no transfer was in flight")
					return err
				}
				_, err := fmt.Fprintf(w, "in flight were:\n  %s\n", strings.Join(f.InFlight, "\n  "))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in a `sentence` for those whom it stops")
	return cmd
}

func frozenText(f northbound.Freeze) string {
	switch {
	case f.Data.IsValid():
		return dataText(f.Data)
	case f.Node != "":
		return f.Node + " of " + f.Institution
	}
	return f.Institution
}

func unfreezeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unfreeze FREEZE",
		Short: "Lift a freeze",
		Args:  exactly("FREEZE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var f northbound.Freeze
			if err := c.call(cmd.Context(), http.MethodDelete, "/v1/freezes/"+url.PathEscape(args[0]), nil, &f); err != nil {
				return err
			}
			return emit(cmd, f, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "the freeze %s of %s is lifted: grants have effect again\n", f.ID, frozenText(f))
				return err
			})
		},
	}
}

func freezesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "freezes",
		Short: "List the freezes that concern you, lifted ones too",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.Freeze
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/freezes", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("FREEZE\tWHAT\tSINCE\tUNTIL\tBY\tIN FLIGHT\tREASON")
					for _, f := range list {
						until := "in force"
						if !f.Lifted.IsZero() {
							until = moment(f.Lifted)
						}
						row("%s\t%s\t%s\t%s\t%s\t%d\t%s", f.ID, frozenText(f), moment(f.At), until, f.By, len(f.InFlight), f.Reason)
					}
				})
			})
		},
	}
}

func approveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approve GRANT",
		Short: "Be the second pair of eyes on a grant of important or core data",
		Args:  exactly("GRANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var g northbound.Grant
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/grants/"+url.PathEscape(args[0])+"/approve", nil, &g); err != nil {
				return err
			}
			return emit(cmd, g, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "grant %s, given by %s, is approved by %s and has effect now\n", g.ID, g.By, g.Approved)
				return err
			})
		},
	}
}
