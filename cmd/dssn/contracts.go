package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

// printPlan shows the rates at which a bulk transfer is placed.
func printPlan(w io.Writer, plan []northbound.RatePiece) {
	for _, p := range plan {
		fmt.Fprintf(w, "  plan  %s from %s until %s\n", p.Rate, moment(p.From), moment(p.To))
	}
}

// printContract adds what changes in a contract's time: its plan, boosts and resizes.
func printContract(row func(string, ...any), r northbound.Reservation) {
	for _, p := range r.Plan {
		row("  plan\t%s from %s until %s", p.Rate, moment(p.From), moment(p.To))
	}
	for _, b := range r.Boosts {
		row("  boost\t%s more from %s until %s (%s)", b.Extra, moment(b.Start), moment(b.Until), b.State)
	}
	for _, z := range r.Resizes {
		lost := "not measured yet"
		switch {
		case z.Exact:
			lost = fmt.Sprintf("%d of %d packets lost", z.Lost, z.Sent)
		case !z.Measured.IsZero():
			lost = fmt.Sprintf("at most %d of %d packets lost so far", z.Lost, z.Sent)
		}
		path := ""
		if z.NewPath != nil {
			path = ", by " + route(z.NewPath) + " instead of " + route(z.OldPath)
		}
		row("  resized\t%s to %s at %s%s: %s", z.From, z.To, moment(z.At), path, lost)
	}
}

// changeCommand makes a command that changes one reservation by a request.
func changeCommand[Q any](use, short, verb string, fill func(*Q) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly("RESERVATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := dssn.ParseReservationID(args[0])
			if err != nil {
				return usageError{err}
			}
			var q Q
			if err := fill(&q); err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var r northbound.Reservation
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/reservations/"+id.String()+"/"+verb, q, &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error { return printReservation(w, r) })
		},
	}
}

func optionalRate(text string) (*dssn.Bandwidth, error) {
	if text == "" {
		return nil, nil
	}
	b, err := dssn.ParseBandwidth(text)
	if err != nil {
		return nil, usageError{err}
	}
	return &b, nil
}

func optionalMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return parseUntil(text, time.Now())
}

func modifyCommand() *cobra.Command {
	var committed, ceiling, burst, until string
	var priority int
	cmd := changeCommand("modify RESERVATION [--committed RATE] [--ceiling RATE] [--until MOMENT]", "Change a reservation's rates, burst, priority or end", "modify", func(q *northbound.ModifyRequest) (err error) {
		if q.Committed, err = optionalRate(committed); err != nil {
			return err
		}
		if q.Ceiling, err = optionalRate(ceiling); err != nil {
			return err
		}
		if burst != "" {
			n, err := dssn.ParseByteCount(burst)
			if err != nil {
				return usageError{err}
			}
			q.Burst = &n
		}
		if q.Until, err = optionalMoment(until); err != nil {
			return err
		}
		if q.Priority = priority; q.Committed == nil && q.Ceiling == nil && q.Burst == nil && q.Priority == 0 && q.Until.IsZero() {
			return usagef("nothing is to be changed: give --committed, --ceiling, --burst, --priority or --until")
		}
		return nil
	})
	cmd.Long = `The new rate is promised, on the present path or on another that has room for it,
before the old one is given up; if it is refused, nothing changes. What both ends'
meters say was lost across the change is shown with the reservation.`
	f := cmd.Flags()
	f.StringVar(&committed, "committed", "", "`rate` that is always there")
	f.StringVar(&ceiling, "ceiling", "", "`rate` that may be reached where there is room")
	f.StringVar(&burst, "burst", "", "`amount` that may arrive at once")
	f.IntVar(&priority, "priority", 0, "weight in sharing, 1 to 100")
	f.StringVar(&until, "until", "", "`moment` of its end: RFC 3339, a date, or a duration from now")
	return cmd
}

func extendCommand() *cobra.Command {
	var until string
	cmd := changeCommand("extend RESERVATION --until MOMENT", "Move the end of a reservation", "extend", func(q *northbound.ExtendRequest) (err error) {
		if until == "" {
			return usagef("an extension needs its new end: give --until")
		}
		q.Until, err = optionalMoment(until)
		return err
	})
	cmd.Flags().StringVar(&until, "until", "", "`moment` of its end: RFC 3339, a date, or a duration from now")
	return cmd
}

func boostCommand() *cobra.Command {
	var committed, start, until string
	cmd := changeCommand("boost RESERVATION --committed RATE --until MOMENT [--start MOMENT]", "Raise a contract's committed rate for a window of its own", "boost", func(q *northbound.BoostRequest) error {
		rate, err := optionalRate(committed)
		if err != nil {
			return err
		}
		if rate == nil || until == "" {
			return usagef("a boost needs a rate and an end: give --committed and --until, such as --committed 4G --until 30m")
		}
		q.Committed = *rate
		if q.Start, err = optionalMoment(start); err != nil {
			return err
		}
		q.Until, err = optionalMoment(until)
		return err
	})
	cmd.Long = `A boost has a window and a price (boost-bandwidth in the tariff) of its own, and is
admitted or refused like a reservation. When it is over the contract is as before.`
	f := cmd.Flags()
	f.StringVar(&committed, "committed", "", "whole committed `rate` during the boost")
	f.StringVar(&start, "start", "", "`moment` at which it begins (default: now)")
	f.StringVar(&until, "until", "", "`moment` of its end: RFC 3339, a date, or a duration from now")
	return cmd
}

func whyCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "why RESERVATION [--at MOMENT]",
		Short: "Say why a reservation had its rate and path at a moment",
		Args:  exactly("RESERVATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := dssn.ParseReservationID(args[0])
			if err != nil {
				return usageError{err}
			}
			query := ""
			if at != "" {
				t, err := parsePast(at, time.Now())
				if err != nil {
					return err
				}
				query = "?at=" + url.QueryEscape(t.Format(time.RFC3339Nano))
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var y northbound.Why
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/reservations/"+id.String()+"/why"+query, nil, &y); err != nil {
				return err
			}
			return emit(cmd, y, func(w io.Writer) error { return printWhy(w, y) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "`moment` that is asked about: RFC 3339, or how long ago, such as 5m (default: now)")
	return cmd
}

// parsePast reads a moment or how long ago it was.
func parsePast(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%q is not a moment that is past: write 2026-11-24T10:00:00Z, or 5m for five minutes ago", s)
}

func printWhy(w io.Writer, y northbound.Why) error {
	fmt.Fprintln(w, y.Answer)
	return table(w, func(row func(string, ...any)) {
		row("AT\tSTATE\tRATE\tPATH\tBECAUSE")
		line := func(mark string, c northbound.Change) {
			row("%s%s\t%s\t%s\t%s\t%s", mark, c.At.Local().Format(time.DateTime), c.State, c.Rate, route(c.Path), c.Cause)
		}
		for _, c := range y.Before {
			line("  ", c)
		}
		if y.Change != nil {
			line("> ", *y.Change)
		}
		for _, c := range y.After {
			line("  ", c)
		}
	})
}
