package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"dssn/controller/northbound"
)

func institutionCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "institution",
		Aliases: []string{"tenant"},
		Short:   "Register the parties of the network (also: tenant)",
	}, institutionAddCommand(), institutionListCommand())
}

func institutionAddCommand() *cobra.Command {
	var req northbound.InstitutionRequest
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Register an institution; it receives a /64 to mint identifiers from",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var v northbound.Institution
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/institutions", req, &v); err != nil {
				return err
			}
			return emit(cmd, v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "institution %s owns %s\n", v.Name, v.Registrant)
				return err
			})
		},
	}
	cmd.Flags().Uint16Var(&req.Region, "region", 0, "third group of its addresses (default 1)")
	return cmd
}

func institutionListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the institutions",
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
			return emit(cmd, s.Institutions, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("INSTITUTION\tREGISTRANT\tKEYS\tSINCE")
					for _, i := range s.Institutions {
						row("%s\t%s\t%d\t%s", i.Name, i.Registrant, len(i.Keys), moment(i.Created))
					}
				})
			})
		},
	}
}
