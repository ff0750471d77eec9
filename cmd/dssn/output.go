package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// jsonFileVariable names a file into which a command also writes its values,
// for programs that show its words to a person.
const jsonFileVariable = "DSSN_JSON_FILE"

// emit prints v as JSON where that was asked for, and otherwise lets words say it.
func emit(cmd *cobra.Command, v any, words func(w io.Writer) error) error {
	if path := os.Getenv(jsonFileVariable); path != "" {
		text, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write the values to %s: %w", path, err)
		}
	}
	if asJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), v)
	}
	return words(cmd.OutOrStdout())
}

// asJSON reports whether the caller wants values.
func asJSON(cmd *cobra.Command) bool {
	v, err := cmd.Flags().GetBool("json")
	return err == nil && v
}

// printJSON writes v indented, with a newline.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes lined-up columns; each row is tab-separated.
func table(w io.Writer, rows func(row func(format string, args ...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) })
	return t.Flush()
}
