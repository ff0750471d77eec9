package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

func reserveCommand() *cobra.Command {
	return wishCommand(&cobra.Command{
		Use:   "reserve --to IDENTIFIER --committed RATE [--ceiling RATE] [--class CLASS]",
		Short: "Ask for bandwidth from a dataset's holder to this terminal",
		Long: `The request is admitted or refused as a whole. If admitted it is held and then
committed, and the rate and path are shown; if not, the refusal names the link in
the way and the best that would be admitted: a lesser rate, a later start, a longer
delay or a later deadline.

--start and --until are a window; what is asked for is held for it from now on.
--class assured has its delay bounded, by --delay if it is given.
--class bulk with --volume and --until moves a volume before a deadline; the
controller chooses the rates and says when it will be done.`,
	}, false)
}

func quoteCommand() *cobra.Command {
	return wishCommand(&cobra.Command{
		Use:   "quote --to IDENTIFIER --committed RATE [--ceiling RATE] [--class CLASS]",
		Short: "Say what a reservation would get, without holding it",
	}, true)
}

// wishCommand makes a command that asks for bandwidth, or only for a quote of it.
func wishCommand(cmd *cobra.Command, quoteOnly bool) *cobra.Command {
	var to, committed, ceiling, class, burst, start, until, volume string
	quote := quoteOnly
	var req northbound.ReservationRequest
	*cmd = cobra.Command{
		Use: cmd.Use, Short: cmd.Short, Long: cmd.Long,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if to == "" {
				return usagef("bandwidth to nowhere cannot be reserved: name the dataset with --to")
			}
			if req.Data, err = dssn.ParseDataID(to); err != nil {
				return usageError{err}
			}
			for _, r := range []struct {
				text string
				rate *dssn.Bandwidth
			}{{committed, &req.Committed}, {ceiling, &req.Ceiling}} {
				if r.text == "" {
					continue
				}
				if *r.rate, err = dssn.ParseBandwidth(r.text); err != nil {
					return usageError{err}
				}
			}
			if volume != "" {
				if req.Volume, err = dssn.ParseByteCount(volume); err != nil {
					return usageError{err}
				}
			}
			if req.Committed == 0 && req.Ceiling == 0 && req.Volume == 0 {
				return usagef("no rate was asked for: give --committed, --ceiling or both, such as --committed 1G --ceiling 4G")
			}
			if req.Ceiling != 0 && req.Ceiling < req.Committed {
				return usagef("the ceiling %s lies below the committed rate %s: raise --ceiling or leave it out", req.Ceiling, req.Committed)
			}
			if burst != "" {
				if req.Burst, err = dssn.ParseByteCount(burst); err != nil {
					return usageError{err}
				}
			}
			if req.Class, err = dssn.ParseClass(class); err != nil {
				return usageError{err}
			}
			if start != "" {
				if req.Start, err = parseUntil(start, time.Now()); err != nil {
					return err
				}
			}
			if until != "" {
				if req.Until, err = parseUntil(until, time.Now()); err != nil {
					return err
				}
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			if quote {
				return showQuote(cmd, c, req)
			}
			return holdAndCommit(cmd, c, req)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "`identifier` of the dataset to be fetched")
	f.StringVar(&committed, "committed", "", "`rate` that is always there, such as 1G")
	f.StringVar(&ceiling, "ceiling", "", "`rate` that may be reached where there is room (default: the committed rate)")
	f.StringVar(&class, "class", "elastic", "assured, elastic, bulk or background")
	f.StringVar(&burst, "burst", "", "`amount` that may arrive at once, such as 4MiB (default: 50 ms of the rate)")
	f.IntVar(&req.Priority, "priority", 0, "weight in sharing, 1 to 100 (default 10)")
	f.StringVar(&start, "start", "", "`moment` at which its window begins: RFC 3339, a date, or a duration from now (default: now)")
	f.StringVar(&until, "until", "", "`moment` of its end, or deadline of a --volume: RFC 3339, a date, or a duration from now (default: until released)")
	f.StringVar(&volume, "volume", "", "`amount` of content that class bulk is to move before --until, such as 2TB")
	f.DurationVar(&req.MaxDelay, "delay", 0, "delay `bound` that class assured needs, one way, such as 12ms")
	f.StringVar(&req.Consumer, "consumer", "", "receiving `terminal`; only an operator needs it")
	if !quoteOnly {
		f.BoolVar(&quote, "quote", false, "only say what would be admitted now")
	}
	return cmd
}

func showQuote(cmd *cobra.Command, c *client, req northbound.ReservationRequest) error {
	var q northbound.Quote
	if err := c.call(cmd.Context(), http.MethodPost, "/v1/quotes", req, &q); err != nil {
		return err
	}
	return emit(cmd, q, func(w io.Writer) error {
		fmt.Fprintln(w, q.Detail)
		if q.Admitted {
			if q.Rate > 0 {
				fmt.Fprintf(w, "  rate  %s\n", q.Rate)
			}
			fmt.Fprintf(w, "  path  %s\n", route(q.Path))
			printPlan(w, q.Plan)
		}
		return nil
	})
}

// holdAndCommit reserves in two steps, so that an interrupted command leaves a
// hold that runs out and not a contract that nobody knows of.
func holdAndCommit(cmd *cobra.Command, c *client, req northbound.ReservationRequest) error {
	var held, r northbound.Reservation
	if err := c.call(cmd.Context(), http.MethodPost, "/v1/reservations", req, &held); err != nil {
		return err
	}
	if err := c.call(cmd.Context(), http.MethodPost, "/v1/reservations/"+held.ID.String()+"/commit", struct{}{}, &r); err != nil {
		return err
	}
	return emit(cmd, r, func(w io.Writer) error { return printReservation(w, r) })
}

func printReservation(w io.Writer, r northbound.Reservation) error {
	limit := ""
	if r.Limit != "" {
		limit = fmt.Sprintf(" (kept under the ceiling by %s)", r.Limit)
	}
	fmt.Fprintf(w, "reservation %s is %s\n", r.ID, r.State)
	return table(w, func(row func(string, ...any)) {
		row("  class\t%s", r.Class)
		row("  committed\t%s", r.Committed)
		row("  ceiling\t%s", r.Ceiling)
		row("  admitted\t%s%s", r.Allocated, limit)
		row("  path\t%s  (%s)", route(r.Path), r.Latency.Round(10*time.Microsecond))
		for i, p := range r.Repairs {
			if i == 0 && len(r.Parts) == 2 {
				row("  and\t%s  (%s of the rate, %s by the first)", route(p), r.Parts[1], r.Parts[0])
				continue
			}
			row("  or else\t%s", route(p))
		}
		if r.DelayBound > 0 {
			row("  delay\tat most %s, one way", r.DelayBound)
		}
		if !r.Start.IsZero() {
			row("  from\t%s", moment(r.Start))
		}
		if !r.Until.IsZero() {
			row("  until\t%s", moment(r.Until))
		}
		if r.Volume > 0 {
			row("  volume\t%s, of which %s have arrived; done by %s", r.Volume, r.Moved, moment(r.Finish))
		}
		if r.Reason != "" {
			row("  because\t%s", r.Reason)
		}
		printContract(row, r)
	})
}

func reservationsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reservations",
		Short: "List reservations",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.Reservation
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/reservations", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("RESERVATION\tSTATE\tCLASS\tCOMMITTED\tALLOCATED\tCEILING\tPATH")
					for _, r := range list {
						row("%s\t%s\t%s\t%s\t%s\t%s\t%s", r.ID, r.State, r.Class, r.Committed, r.Allocated, r.Ceiling, route(r.Path))
					}
				})
			})
		},
	}
}

func releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "release RESERVATION",
		Short: "Give reserved bandwidth back",
		Args:  exactly("RESERVATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := dssn.ParseReservationID(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var r northbound.Reservation
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/reservations/"+id.String()+"/release", struct{}{}, &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "reservation %s is %s\n", r.ID, r.State)
				return err
			})
		},
	}
}
