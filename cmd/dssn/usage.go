package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

func usageCommand() *cobra.Command {
	return &cobra.Command{
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

func billCommand() *cobra.Command {
	var institution string
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Show what is owed, by dimension",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			path := "/v1/bills"
			if institution != "" {
				path += "?institution=" + queryText(institution)
			}
			var b northbound.Bill
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &b); err != nil {
				return err
			}
			return emit(cmd, b, func(w io.Writer) error {
				from := "everything"
				if b.From.Unix() > 0 {
					from = moment(b.From)
				}
				fmt.Fprintf(w, "%s, %s until %s, tariff %s\n", b.Institution, from, moment(b.To), b.Tariff)
				err := table(w, func(row func(string, ...any)) {
					row("  DIMENSION\tQUANTITY\tUNIT\tPRICE\tAMOUNT\tFOR")
					for _, l := range b.Lines {
						row("  %s\t%s\t%s\t%s\t%s\t%s", l.Dimension, l.Quantity, l.Unit, l.Price, l.Amount, l.Subject)
					}
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(w, "  total %s %s\n", b.Total, b.Currency)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&institution, "institution", "", "whose bill; only an operator needs it")
	return cmd
}
