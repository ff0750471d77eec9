package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn/controller/northbound"
)

func personCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "person",
		Short: "Register people and programs, and give them tokens",
	}, personAddCommand(), personListCommand(), personRemoveCommand(), personTokenCommand())
}

func personAddCommand() *cobra.Command {
	var q northbound.PersonRequest
	var role string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "add NAME --role ROLE [--institution NAME]",
		Short: "Register a person or a program, or give one a new token; prints the token and nothing else",
		Long: `The token is shown this once; whoever has it acts as that person. --scope makes one
that is good for some things only: v1, or CAMARA's, such as qos-profiles:read and
quality-on-demand:sessions:create. --device makes one that is good for a single
terminal: what OAuth calls a three-legged token.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name, q.Role = args[0], northbound.Role(role)
			if role == "" {
				return usagef("a person has a role: give --role operator, admin, member or auditor")
			}
			if ttl < 0 || ttl > 0 && ttl < time.Second {
				return usagef("a token that lives for %s cannot be used: give --ttl a second or more", ttl)
			}
			q.TTLSeconds = int64(ttl / time.Second)
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var p northbound.Person
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/people", q, &p); err != nil {
				return err
			}
			return emit(cmd, p, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, p.Token)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "operator, admin, member or auditor")
	f.StringVar(&q.Institution, "institution", "", "`name` of the institution that they belong to; not of operators")
	f.StringSliceVar(&q.Scopes, "scope", nil, "`scope` that the token is good for; several, or none for everything that the role may")
	f.StringVar(&q.Device, "device", "", "`terminal` for which alone the token is good")
	f.DurationVar(&ttl, "ttl", 0, "how long the token can be used (default 720h)")
	return cmd
}

func personListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the people that you may see",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.Person
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/people", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("PERSON\tROLE\tINSTITUTION\tUNTIL\tDEVICE\tSCOPES")
					for _, p := range list {
						row("%s\t%s\t%s\t%s\t%s\t%s", p.Name, p.Role, p.Institution, moment(p.Expires), dash(p.Device), dash(strings.Join(p.Scopes, " ")))
					}
				})
			})
		},
	}
}

func personRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a person; their token is good for nothing from now on",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return removeThing(cmd, "/v1/people/"+url.PathEscape(args[0]), "person", args[0])
		},
	}
}

// removeThing deletes what a path names and says so.
func removeThing(cmd *cobra.Command, path, what, name string) error {
	c, err := open(cmd)
	if err != nil {
		return err
	}
	if err := c.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	return emit(cmd, map[string]string{"removed": name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s is removed\n", what, name)
		return err
	})
}

func nodeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the nodes of the network that you may see",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			s, err := networkStatus(cmd, c)
			if err != nil {
				return err
			}
			return emit(cmd, s.Nodes, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("NODE\tROLE\tINSTITUTION\tSID\tIDENTIFIER\tHUB\tSTATE")
					for _, n := range s.Nodes {
						row("%s\t%s\t%s\t%s\t%s\t%s\t%s", n.Name, n.Role, n.Institution, n.SID, n.Node, dash(n.Hub), nodeState(n))
					}
				})
			})
		},
	}
}

func nodeRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE",
		Short: "End a node's membership; it is no longer let in (operator only)",
		Args:  exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return removeThing(cmd, "/v1/nodes/"+url.PathEscape(args[0]), "node", args[0])
		},
	}
}
