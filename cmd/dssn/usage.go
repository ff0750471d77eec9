package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

func usageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what was metered, at both ends",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var u northbound.Usage
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/usage", nil, &u); err != nil {
				return err
			}
			return emit(cmd, u, func(w io.Writer) error { return printUsage(w, u) })
		},
	}
	cmd.AddCommand(disputesCommand(), resolveCommand())
	return cmd
}

func disputesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "disputes",
		Short: "Show what two ends disagree on, which is not billed",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.Dispute
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/disputes", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				if len(list) == 0 {
					_, err := fmt.Fprintln(w, "nothing is disputed")
					return err
				}
				return table(w, func(row func(string, ...any)) {
					row("DISPUTE\tPAYER\tSINCE\tWHAT")
					for _, d := range list {
						id := d.Transfer
						if id == "" {
							id = d.Reservation.String()
						}
						row("%s\t%s\t%s\t%s", id, d.Institution, moment(d.At), d.Detail)
					}
				})
			})
		},
	}
}

func resolveCommand() *cobra.Command {
	var q northbound.ResolveRequest
	cmd := &cobra.Command{
		Use:   "resolve RESERVATION|TRANSFER --bytes N --reason TEXT",
		Short: "Decide a dispute: how many bytes are billed (operator only)",
		Args:  exactly("RESERVATION|TRANSFER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("bytes") || q.Reason == "" {
				return usagef("a decision needs --bytes and --reason: see `dssn usage disputes` for what each end says")
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/disputes/"+url.PathEscape(args[0])+"/resolve", q, nil); err != nil {
				return err
			}
			return emit(cmd, q, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "decided: %d bytes of %s are billed; the decision is in the evidence log\n", q.Bytes, args[0])
				return err
			})
		},
	}
	cmd.Flags().Uint64Var(&q.Bytes, "bytes", 0, "`number` of bytes that are billed, no more than either end claims")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the record")
	return cmd
}

func printUsage(w io.Writer, u northbound.Usage) error {
	err := table(w, func(row func(string, ...any)) {
		row("TRANSFER\tSTATE\tHOLDER\tBYTES\tRECEIVER\tBYTES\tRESERVATION")
		for _, t := range u.Transfers {
			row("%s\t%s\t%s\t%d\t%s\t%d\t%s", t.ID, t.State, t.Holder, t.HolderBytes, t.Receiver, t.ReceiverBytes, reservationText(t.Reservation))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	return table(w, func(row func(string, ...any)) {
		row("RESERVATION\tKIND\tINGRESS\tSENT\tPOLICED\tEGRESS\tRECEIVED\tLOST ON THE WAY")
		for _, r := range u.Reservations {
			kind := "reserved"
			if r.Implicit {
				kind = "implicit"
			}
			row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", r.Reservation, kind, r.Ingress.Node, dssn.ByteCount(r.Ingress.SentBytes), dssn.ByteCount(r.Ingress.PolicedBytes),
				r.Egress.Node, dssn.ByteCount(r.Egress.ReceivedBytes), dssn.ByteCount(r.LostBytes))
		}
	})
}

func reservationText(id dssn.ReservationID) string {
	if id == 0 {
		return "-"
	}
	return id.String()
}
