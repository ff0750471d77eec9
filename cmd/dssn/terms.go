package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

// termFlags are the conditions of a grant as a person types them.
type termFlags struct {
	grades, categories, windows, hubs []string
	purpose, quota                    string
	transfers                         int
}

func (t *termFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&t.grades, "grade", nil, "only data of these `grades`: 0 to 4, 8 (important) or c (core)")
	f.StringSliceVar(&t.categories, "category", nil, "only data of these `categories`, such as 7 (health)")
	f.StringVar(&t.purpose, "purpose", "", "what the data may be used for, in `words`; kept in the record")
	f.StringArrayVar(&t.windows, "window", nil, "only in this recurring `time`, such as \"mon-fri 20:00-06:00 Asia/Shanghai\"; may be repeated")
	f.StringVar(&t.quota, "quota", "", "at most so many `bytes`, such as 500G, as the holder's meter counts them")
	f.IntVar(&t.transfers, "transfers", 0, "at most so many transfers")
	f.StringSliceVar(&t.hubs, "hub", nil, "only for terminals at one of these backbone `nodes`")
}

func (t *termFlags) read() (out northbound.Terms, err error) {
	for _, s := range t.grades {
		g, err := dssn.ParseGrade(s)
		if err != nil {
			return out, usageError{err}
		}
		out.Grades = append(out.Grades, g)
	}
	for _, s := range t.categories {
		c, err := dssn.ParseCategory(s)
		if err != nil {
			return out, usageError{err}
		}
		out.Categories = append(out.Categories, c)
	}
	for _, s := range t.windows {
		w, err := parseWindow(s)
		if err != nil {
			return out, err
		}
		out.Windows = append(out.Windows, w)
	}
	if t.quota != "" {
		if out.Quota, err = dssn.ParseByteCount(t.quota); err != nil {
			return out, usageError{err}
		}
		if out.Quota == 0 {
			return out, usagef("a quota of no bytes grants nothing: give more with --quota, or leave the grant away")
		}
	}
	if t.transfers < 0 {
		return out, usagef("%d transfers cannot begin: give --transfers 1 or more", t.transfers)
	}
	out.Purpose, out.Transfers, out.Hubs = t.purpose, t.transfers, t.hubs
	return out, nil
}

var week = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

var windowText = regexp.MustCompile(`^(?:(\S*[a-z]\S*)\s+)?(\d\d:\d\d)-(\d\d:\d\d)(?:\s+(\S+))?$`)

// parseWindow reads "[DAYS] FROM-TO [ZONE]"; DAYS are names, ranges of names, or
// daily, separated by commas.
func parseWindow(s string) (w northbound.Window, err error) {
	m := windowText.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return w, usagef("%q is not a recurring time: write it as \"mon-fri 20:00-06:00 Asia/Shanghai\"", s)
	}
	w.From, w.To, w.Zone = m[2], m[3], m[4]
	if m[1] == "" || m[1] == "daily" {
		return w, nil
	}
	for part := range strings.SplitSeq(m[1], ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		i, j := slices.Index(week, from), slices.Index(week, to)
		if i < 0 || j < 0 {
			return w, usagef("%q is no day of the week: use mon, tue, wed, thu, fri, sat and sun, or a range such as mon-fri", part)
		}
		for k := i; ; k = (k + 1) % len(week) {
			if !slices.Contains(w.Days, week[k]) {
				w.Days = append(w.Days, week[k])
			}
			if k == j {
				break
			}
		}
	}
	return w, nil
}

// grantee is whom a grant is for.
func grantee(g northbound.Grant) string {
	switch {
	case g.ToRole != "":
		return "every party with the role " + g.ToRole
	case g.ToNode != "":
		return g.ToNode + " of " + g.To
	}
	return g.To
}

// printRules says who keeps which condition.
func printRules(w io.Writer, rules []northbound.Rule) error {
	return table(w, func(row func(string, ...any)) {
		for _, r := range rules {
			by := make([]string, len(r.Enforced))
			for i, e := range r.Enforced {
				by[i] = string(e)
			}
			row("  %s\t%s\tkept by the %s", r.Rule, r.Value, strings.Join(by, " and the "))
		}
	})
}

func roleCommand() *cobra.Command {
	set := &cobra.Command{
		Use:   "set PARTY [ROLE…]",
		Short: "Give an institution or a node its roles, all of them at once; none takes them away",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("the roles are for nobody: name an institution or a node, then its roles")
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var r northbound.Roles
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/roles", northbound.RoleRequest{Party: args[0], Roles: args[1:]}, &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error {
				if len(r.Roles) == 0 {
					_, err := fmt.Fprintf(w, "%s has no role\n", args[0])
					return err
				}
				_, err := fmt.Fprintf(w, "%s has the roles %s: grants to role:NAME reach it\n", args[0], strings.Join(r.Roles, ", "))
				return err
			})
		},
	}
	return group(&cobra.Command{Use: "role", Short: "Say what parties are, so that grants can name all of a kind"}, set)
}
