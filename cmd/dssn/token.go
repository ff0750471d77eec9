package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

func tokenCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Let a node join: one token, one node, once",
	}, tokenCreateCommand())
}

func tokenCreateCommand() *cobra.Command {
	var req northbound.TokenRequest
	var role, access, sid string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create --node NAME --role backbone|terminal",
		Short: "Draw a token with which one node can join once; prints nothing else",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			req.Role = southbound.Role(role)
			switch {
			case req.Node == "":
				return usagef("the token is for no node: name it with --node")
			case req.Role != southbound.RoleBackbone && req.Role != southbound.RoleTerminal:
				return usagef("%q is not a role: use --role backbone or --role terminal", role)
			case req.Role == southbound.RoleTerminal && req.Institution == "":
				return usagef("a terminal belongs to an institution: name it with --institution")
			case ttl < time.Second:
				return usagef("a token that lives for %s cannot be used: give --ttl a second or more", ttl)
			}
			if access != "" {
				if req.Access, err = dssn.ParseBandwidth(access); err != nil {
					return usageError{err}
				}
			}
			if sid != "" {
				if req.SID, err = dssn.ParseSID(sid); err != nil {
					return usageError{err}
				}
			}
			req.TTLSeconds = int64(ttl / time.Second)
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var t northbound.Token
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/tokens", req, &t); err != nil {
				return err
			}
			return emit(cmd, t, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, t.Token)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Node, "node", "", "`name` of the node; a backbone node's is the topology's")
	f.StringVar(&role, "role", "", "backbone or terminal")
	f.StringVar(&req.Institution, "institution", "", "`name` of the institution that a terminal belongs to")
	f.StringVar(&access, "access", "", "capacity of a terminal's access link, such as 10G (the default)")
	f.StringVar(&sid, "sid", "", "segment identifier, hexadecimal (default: the topology's or the next free one)")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long the token can be used")
	return cmd
}
