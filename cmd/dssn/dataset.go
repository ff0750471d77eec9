package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
)

// datasetCommand gathers what can be done with datasets; publish and datasets
// are short for two of its verbs.
func datasetCommand() *cobra.Command {
	publish, list := publishCommand(), datasetsCommand()
	list.Use = "list"
	return group(&cobra.Command{
		Use:   "dataset",
		Short: "The catalogue: publish, list, show, resolve and export datasets",
	}, publish, list, datasetShowCommand(), datasetResolveCommand(), datasetExportCommand())
}

func datasetExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the catalogue as DCAT 3 in JSON-LD, for other catalogues to harvest",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/catalogue.jsonld", nil, &doc); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(append(doc, '\n'))
			return err
		},
	}
}

func datasetShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show IDENTIFIER",
		Short: "Show a dataset's entry of the catalogue",
		Args:  exactly("IDENTIFIER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d northbound.Dataset
			if err := askData(cmd, "/v1/datasets/", args[0], &d); err != nil {
				return err
			}
			return emit(cmd, d, func(w io.Writer) error { return printDataset(w, d) })
		},
	}
}

func datasetResolveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resolve IDENTIFIER",
		Short: "Say who holds a dataset, by which grant and on which path it can be had",
		Args:  exactly("IDENTIFIER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r northbound.Resolution
			if err := askData(cmd, "/v1/resolve/", args[0], &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error {
				if err := printDataset(w, r.Dataset); err != nil {
					return err
				}
				return table(w, func(row func(string, ...any)) {
					row("  from\t%s", dash(r.Holder))
					row("  by\t%s, until %s", dash(r.Grant), moment(r.Until))
					row("  path\t%s", route(r.Path))
				})
			})
		},
	}
}

// askData asks for something of a dataset that a person named.
func askData(cmd *cobra.Command, path, name string, out any) error {
	id, err := dssn.ParseDataID(name)
	if err != nil {
		return usageError{err}
	}
	c, err := open(cmd)
	if err != nil {
		return err
	}
	return c.call(cmd.Context(), http.MethodGet, path+id.String(), nil, out)
}

func printDataset(w io.Writer, d northbound.Dataset) error {
	fmt.Fprintf(w, "dataset %s of %s\n", d.Record.Name, d.Institution)
	return table(w, func(row func(string, ...any)) {
		row("  identifier\t%s", d.Record.ID)
		row("  contents\t%s in %d files, BLAKE3 root %s", d.Record.Length, d.Record.Files, d.Record.Root)
		row("  grade\t%s", d.Record.Grade)
		row("  category\t%s", d.Record.Category)
		row("  held by\t%s", listOr(d.Holders, "nobody at present"))
		row("  registered\t%s", moment(d.Registered))
		if !d.Supersedes.IsZero() {
			row("  supersedes\t%s", d.Supersedes)
		}
		if !d.SupersededBy.IsZero() {
			row("  superseded by\t%s", d.SupersededBy)
		}
	})
}
