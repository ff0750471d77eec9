package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn/controller/northbound"
)

func eventsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "events [--follow]",
		Short: "Say what happened and why: paths, rates, links",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			if follow {
				return followEvents(cmd, c)
			}
			var list []northbound.Event
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/events", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					for _, e := range list {
						row("%s\t%s\t%s", moment(e.At), e.Kind, e.Detail)
					}
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "print what happens from now on, as it happens, until interrupted")
	return cmd
}

// reconnectEvery is how long it waits after a stream broke.
const reconnectEvery = 2 * time.Second

// followEvents prints events until it is interrupted. A stream that breaks, as
// it does when the controller is restarted, is taken up where it ended.
func followEvents(cmd *cobra.Command, c *client) error {
	ctx, last, told := cmd.Context(), int64(-1), false
	for {
		err := followOnce(ctx, cmd, c, &last)
		var refused *problem
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && refused.Status < 500, last < 0 && err != nil && !told:
			return err // it never worked, or never will
		}
		if !told {
			fmt.Fprintf(cmd.ErrOrStderr(), "dssn: the events broke off; asking again every %s\n", reconnectEvery)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnectEvery):
		}
	}
}

func followOnce(ctx context.Context, cmd *cobra.Command, c *client, last *int64) error {
	h := http.Header{"Accept": {"text/event-stream"}}
	if *last >= 0 {
		h.Set("Last-Event-ID", strconv.FormatInt(*last, 10))
	}
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", nil, h)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		return &problem{Status: http.StatusNotImplemented, Detail: "this controller does not tell events as they happen: update it, or use `dssn events` without --follow"}
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "data":
			if kind == "gap" {
				fmt.Fprintln(cmd.ErrOrStderr(), "dssn: some events in between are no longer remembered")
				continue
			}
			var e northbound.Event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
			*last = e.Sequence
			if err := printEvent(cmd, e); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// printEvent prints one event on a line of its own.
func printEvent(cmd *cobra.Command, e northbound.Event) error {
	if asJSON(cmd) {
		b, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
		}
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", moment(e.At), e.Kind, e.Detail)
	return err
}
