package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

// parseData reads an identifier, a dssn:// URI, or a prefix of identifiers.
func parseData(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") && !strings.HasPrefix(s, "dssn://") {
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is6() || p.Bits() < 64 {
			return netip.Prefix{}, usagef("%q is not a prefix of identifiers: write an identifier, or a prefix of your /64 such as 3fff:d55:1:1::/64", s)
		}
		return p.Masked(), nil
	}
	id, err := dssn.ParseDataID(s)
	if err != nil {
		return netip.Prefix{}, usageError{err}
	}
	return id.Prefix(), nil
}

// parseUntil reads a moment (RFC 3339 or a date) or a duration from now.
func parseUntil(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			if !t.After(now) {
				return t, usagef("%s lies in the past: give a later moment", s)
			}
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, usagef("%q is not a moment: write 2026-12-31T00:00:00Z, 2026-12-31 or 24h", s)
}

func grantCommand() *cobra.Command {
	var to, until string
	var terms termFlags
	cmd := &cobra.Command{
		Use:   "grant IDENTIFIER|PREFIX --to PARTY --until MOMENT",
		Short: "Let an institution reach a dataset of yours until a moment",
		Long: `A grant lets a party (an institution, a node, or role:NAME for every party that
has the role) reach a dataset, or all of a prefix, until a moment. Every further
condition narrows it; the answer says which of them the network keeps, which the
holder's terminal, and which only the record. What reaches data of grade
important or core waits until somebody else has approved it (dssn approve).`,
		Example: `  dssn grant 3fff:d55:1:1:2c21:7047:e66c:e21a --to south --until 24h
  dssn grant 3fff:d55:1:1::/64 --grade 1,2 --category 7 --to role:hospital --until 2027-01-01 --purpose "cancer research"
  dssn grant 3fff:d55:1:1::/64 --grade 0 --to south --until 720h --window "mon-fri 20:00-06:00 Asia/Shanghai" --quota 2T --hub beijing`,
		Args: exactly("IDENTIFIER"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			req := northbound.GrantRequest{To: to}
			if req.Data, err = parseData(args[0]); err != nil {
				return err
			}
			if to == "" {
				return usagef("the grant is for nobody: name an institution or node with --to")
			}
			if until == "" {
				return usagef("the grant has no end: give one with --until, such as --until 24h")
			}
			if req.Until, err = parseUntil(until, time.Now()); err != nil {
				return err
			}
			if req.Terms, err = terms.read(); err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var g northbound.Grant
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/grants", req, &g); err != nil {
				return err
			}
			return emit(cmd, g, func(w io.Writer) error {
				fmt.Fprintf(w, "grant %s: %s may reach %s until %s\n", g.ID, grantee(g), dataText(g.Data), moment(g.Until))
				if g.Waits {
					fmt.Fprintf(w, "it reaches data of grade important or core: it has no effect before somebody else of %s runs `dssn approve %s`\n", g.Owner, g.ID)
				}
				if g.Shut {
					fmt.Fprintf(w, "its window opens at %s\n", moment(g.Edge))
				}
				return printRules(w, g.Rules)
			})
		},
	}
	terms.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "`party` that may reach it: an institution, a node, or role:NAME")
	cmd.Flags().StringVar(&until, "until", "", "`moment` of its end: RFC 3339, a date, or a duration such as 24h")
	return cmd
}

// dataText prints a /128 as the identifier it is.
func dataText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke GRANT",
		Short: "Take a grant back at once",
		Args:  exactly("GRANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, "/v1/grants/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return emit(cmd, struct {
				Revoked string `json:"revoked"`
			}{args[0]}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "grant %s is revoked\n", args[0])
				return err
			})
		},
	}
}
