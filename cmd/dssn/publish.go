package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/node"
)

func publishCommand() *cobra.Command {
	var name, grade, category string
	cmd := &cobra.Command{
		Use:   "publish DIRECTORY --name NAME --grade GRADE --category CATEGORY",
		Short: "Make a folder of files a dataset that this terminal holds",
		Long: `Every file is hashed, the identifier is minted from what is in them, and the
signed record is registered. Nobody can reach the dataset until you grant it.`,
		Args: exactly("DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			req := node.PublishRequest{Name: name}
			if req.Dir, err = filepath.Abs(args[0]); err != nil {
				return fmt.Errorf("find the folder %s: %w", args[0], err)
			}
			if info, err := os.Stat(req.Dir); err != nil || !info.IsDir() {
				return usagef("%s is not a folder: name the folder whose files shall be published", args[0])
			}
			if err := content.CheckName(name); err != nil {
				return usageError{err}
			}
			if req.Grade, err = dssn.ParseGrade(grade); err != nil {
				return usageError{err}
			}
			if req.Category, err = dssn.ParseCategory(category); err != nil {
				return usageError{err}
			}
			c, err := openNode(cmd)
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), "hashing", false)
			record, err := publish(cmd.Context(), c, req, bar)
			bar.close()
			if err != nil {
				return err
			}
			return emit(cmd, record, func(w io.Writer) error {
				fmt.Fprintf(w, "published %s\n", record.Name)
				return table(w, func(row func(string, ...any)) {
					row("  identifier\t%s", record.ID)
					row("  fetch\tdssn get '%s' -o %s", record.ID.URI(), record.Name)
					row("  contents\t%s in %d files, BLAKE3 root %s", record.Length, record.Files, record.Root)
					row("  grade\t%s", record.Grade)
					row("  category\t%s", record.Category)
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "what people call the dataset")
	f.StringVar(&grade, "grade", "", "how carefully it must be handled: open, 1 to 4, important or core")
	f.StringVar(&category, "category", "", "its sector, such as meteorology")
	return cmd
}

func publish(ctx context.Context, c *client, req node.PublishRequest, bar *bar) (*content.Record, error) {
	body, err := c.stream(ctx, http.MethodPost, "/local/publish", req)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	for lines := json.NewDecoder(body); ; {
		var e node.PublishEvent
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil, errors.New("interrupted: nothing was published; type the same line again")
			}
			return nil, fmt.Errorf("the node ended before it had published %s (%v): type the same line again", req.Name, err)
		}
		switch {
		case e.Problem != nil:
			return nil, &problem{Title: e.Problem.Title, Status: e.Problem.Status, Detail: e.Problem.Detail}
		case e.Record != nil:
			return e.Record, nil
		case e.Total > 0:
			bar.set(e.Done, e.Total, 0, 0, "")
		}
	}
}

func datasetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "datasets",
		Short: "List the catalogue",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.Dataset
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/datasets", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("IDENTIFIER\tNAME\tOWNER\tGRADE\tSIZE\tHOLDERS")
					for _, d := range list {
						row("%s\t%s\t%s\t%s\t%s\t%s", d.Record.ID, d.Record.Name, d.Institution, d.Record.Grade, d.Record.Length, route(d.Holders))
					}
				})
			})
		},
	}
}
