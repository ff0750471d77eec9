package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"dssn/controller/northbound"
)

func personTokenCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Further tokens of a person, named, scoped and expiring",
	}, personTokenAddCommand(), personTokenRevokeCommand())
}

func personTokenAddCommand() *cobra.Command {
	var ttl time.Duration
	var scope string
	cmd := &cobra.Command{
		Use:   "add PERSON NAME",
		Short: "Draw a token for a program of a person; prints nothing else",
		Args:  exactly("PERSON", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ttl < time.Second {
				return usagef("a token that lives for %s cannot be used: give --ttl a second or more", ttl)
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var t northbound.APIToken
			q := northbound.APITokenRequest{Name: args[1], Scope: northbound.Scope(scope), TTLSeconds: int64(ttl / time.Second)}
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/people/"+url.PathEscape(args[0])+"/tokens", q, &t); err != nil {
				return err
			}
			return emit(cmd, t, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, t.Token)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&scope, "scope", "read", "read, or all that the person may do")
	cmd.Flags().DurationVar(&ttl, "ttl", 30*24*time.Hour, "how long it can be used")
	return cmd
}

func personTokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke PERSON NAME",
		Short: "Revoke a further token of a person at once",
		Args:  exactly("PERSON", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, "/v1/people/"+url.PathEscape(args[0])+"/tokens/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			return emit(cmd, struct {
				Person  string `json:"person"`
				Revoked string `json:"revoked"`
			}{args[0], args[1]}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "the token %s of %s is revoked\n", args[1], args[0])
				return err
			})
		},
	}
}
