package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn/controller/evidence"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

// period are the flags of what is asked for a time.
type period struct{ institution, from, to string }

func (p *period) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.institution, "institution", "", "whose; only an operator needs it")
	f.StringVar(&p.from, "from", "", "beginning, as 2026-11-01T00:00:00Z (default: everything)")
	f.StringVar(&p.to, "to", "", "end (default: now)")
}

func (p *period) query() (string, error) {
	q := url.Values{}
	for name, v := range map[string]string{"institution": p.institution, "from": p.from, "to": p.to} {
		if v == "" {
			continue
		}
		if name != "institution" {
			if _, err := parseMoment(name, v); err != nil {
				return "", err
			}
		}
		q.Set(name, v)
	}
	if len(q) == 0 {
		return "", nil
	}
	return "?" + q.Encode(), nil
}

func parseMoment(flag, text string) (t time.Time, err error) {
	if text == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil {
		return t, usagef("--%s %q is not a time: write it as 2026-11-01T00:00:00Z", flag, text)
	}
	return t, nil
}

func billCommand() *cobra.Command {
	var p period
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Show what is owed, by dimension; issue, fetch and verify bills",
		Long: `Without a subcommand, shows a draft: what is owed for a period so far, what is not
yet agreed between the two ends included. An issued bill has only what both ends
agree on; bills of an institution follow each other without gap or overlap.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := p.query()
			if err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var b northbound.Bill
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/bills"+q, nil, &b); err != nil {
				return err
			}
			return emit(cmd, b, func(w io.Writer) error { return printBill(w, &b) })
		},
	}
	p.flags(cmd)
	cmd.AddCommand(billIssueCommand(), billListCommand(), billGetCommand(), billVerifyCommand(), billExportCommand(), billTariffCommand())
	return cmd
}

func printBill(w io.Writer, b *northbound.Bill) error {
	from := "everything"
	if b.From.Unix() > 0 {
		from = moment(b.From)
	}
	what := "draft"
	if b.Number != "" {
		what = "bill " + b.Number
	}
	fmt.Fprintf(w, "%s of %s, %s until %s, tariff %s\n", what, b.Institution, from, moment(b.To), b.Tariff)
	err := table(w, func(row func(string, ...any)) {
		row("  DIMENSION\tQUANTITY\tUNIT\tPRICE\tAMOUNT\tTERMS\tFOR")
		for _, l := range b.Lines {
			row("  %s\t%s\t%s\t%s\t%s\t%s\t%s", l.Dimension, l.Quantity, l.Unit, l.Price, l.Amount, termsText(&l), l.Subject)
		}
	})
	if err != nil {
		return err
	}
	for _, d := range b.Disputed {
		fmt.Fprintf(w, "  not billed, disputed: %s\n", d)
	}
	_, err = fmt.Fprintf(w, "  total %s %s\n", b.Total, b.Currency)
	return err
}

// termsText is what a line's price was chosen by, in one cell.
func termsText(l *northbound.BillLine) string {
	var out []string
	for _, s := range []string{strings.ToLower(l.Status), l.Terms.Class, l.Terms.Band, l.Terms.Distance, l.Terms.Latency, l.Terms.Grade} {
		if s != "" {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ",")
}

func billIssueCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "issue INSTITUTION [--to TIME]",
		Short: "Issue the next bill of an institution (operator only)",
		Long: `The bill begins where the last one ended, at first with the institution's
registration. It and the tariff it is rated by are written into the evidence log by
their hashes; dssn bill get fetches the file that anyone can check.`,
		Args: exactly("INSTITUTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseMoment("to", to)
			if err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var b northbound.IssuedBill
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/bills", northbound.BillRequest{Institution: args[0], To: end}, &b); err != nil {
				return err
			}
			return emit(cmd, b, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "bill %s: %s from %s until %s owes %s %s; leaf %d of the evidence log\n", b.Number, b.Institution, moment(b.From), moment(b.To), b.Total, b.Currency, b.Leaf)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "end of the period, as 2026-12-01T00:00:00Z (default: now)")
	return cmd
}

func billListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List issued bills",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var list []northbound.IssuedBill
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/bills/issued", nil, &list); err != nil {
				return err
			}
			return emit(cmd, list, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("BILL\tFROM\tUNTIL\tTARIFF\tTOTAL")
					for _, b := range list {
						row("%s\t%s\t%s\t%s\t%s %s", b.Number, moment(b.From), moment(b.To), b.Tariff, b.Total, b.Currency)
					}
				})
			})
		},
	}
}

func billGetCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "get NUMBER [-o FILE]",
		Short: "Fetch an issued bill with its tariff, records and proof",
		Args:  exactly("NUMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var file json.RawMessage
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/bills/issued/"+url.PathEscape(args[0]), nil, &file); err != nil {
				return err
			}
			return deliver(cmd, out, file, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "bill %s written to %s; check it with `dssn bill verify %s`\n", args[0], out, out)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write (default: print it)")
	return cmd
}

func billVerifyCommand() *cobra.Command {
	var t trust
	var dir string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Rate a bill again from its records and check it against the evidence log, offline",
		Long: `Needs no network. Every line is rated again from the records in the file by the
tariff that the bill cites, and has to come to the same cent; the bill's hash has to
be a leaf of the evidence log. With --log, a copy that dssn evidence fetch made,
every record that the bill cites is looked for in the log as well.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return verifyBill(cmd, args[0], &t, dir) },
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&dir, "log", "", "`directory` of a copy of the evidence log")
	return cmd
}

// verifyBill checks a bill file, and with a copy of the log in dir its records too.
func verifyBill(cmd *cobra.Command, path string, t *trust, dir string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("the bill %s cannot be read: %v; name a file that `dssn bill get` wrote", path, err)
	}
	f, err := ledger.ReadFile(text)
	if err != nil {
		return err
	}
	hash, err := ledger.VerifyFile(f)
	if err != nil {
		return err
	}
	policy := t.policy(cmd)
	if t.broken != nil {
		return t.broken
	}
	v, err := evidence.VerifyReceipt(f.Evidence, policy)
	if err != nil {
		return fmt.Errorf("the bill comes out the same, but its place in the evidence log is not proved: %w", err)
	}
	var leaf northbound.IssuedBill
	if json.Unmarshal(v.Body, &leaf) != nil || leaf.Kind != "bill" || leaf.Number != f.Bill.Number || leaf.Hash != hash {
		return fmt.Errorf("leaf %d of the evidence log is not this bill: it was changed after it was issued; dispute it", v.Index)
	}
	out := struct {
		Number   string   `json:"number"`
		Total    string   `json:"total"`
		Currency string   `json:"currency"`
		Lines    int      `json:"lines"`
		Records  int      `json:"records"`
		Leaf     int64    `json:"leaf"`
		Log      string   `json:"log"`
		Cosigned []string `json:"cosigned,omitempty"`
		Trust    string   `json:"trust"`
		InLog    int      `json:"records_in_log,omitempty"`
	}{f.Bill.Number, f.Bill.Total, f.Bill.Currency, len(f.Bill.Lines), len(f.Records.Transfers) + len(f.Records.Contracts), v.Index, v.Log, v.Cosigned, t.says, 0}
	if dir != "" {
		if out.InLog, err = recordsInLog(dir, policy, f); err != nil {
			return err
		}
	}
	return emit(cmd, out, func(w io.Writer) error {
		fmt.Fprintf(w, "the bill is good: %d lines rated again from %d records come to %s %s\n", out.Lines, out.Records, out.Total, out.Currency)
		return table(w, func(row func(string, ...any)) {
			row("  evidence\tleaf %d in the log %s", out.Leaf, out.Log)
			row("  cosigned by\t%s", listOr(out.Cosigned, "nobody"))
			row("  trusting\t%s", out.Trust)
			if dir != "" {
				row("  records in the log\t%d", out.InLog)
			} else {
				row("  records in the log\tnot looked for: give --log with a copy from `dssn evidence fetch`")
			}
		})
	})
}

func billExportCommand() *cobra.Command {
	var p period
	var file string
	cmd := &cobra.Command{
		Use:   "export focus|tmf635|cloudevents",
		Short: "Write use or bills in somebody else's format",
		Long: `FOCUS (CSV) has the lines of a draft, or with --file those of an issued bill that
dssn bill get wrote; TM Forum's TMF635 and CloudEvents have the settled transfers.`,
		Args: exactly("FORMAT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return exportFile(cmd, args[0], file)
			}
			q, err := p.query()
			if err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			body, err := c.stream(cmd.Context(), http.MethodGet, "/v1/exports/"+url.PathEscape(args[0])+q, nil)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(cmd.OutOrStdout(), body)
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&file, "file", "", "bill `file` to write as focus, without asking anybody")
	return cmd
}

// exportFile writes an issued bill as FOCUS, from its file.
func exportFile(cmd *cobra.Command, format, path string) error {
	if format != "focus" {
		return usagef("a bill's file can be written as focus only, not as %q", format)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("the bill %s cannot be read: %v; name a file that `dssn bill get` wrote", path, err)
	}
	f, err := ledger.ReadFile(text)
	if err != nil {
		return err
	}
	if _, err := ledger.VerifyFile(f); err != nil {
		return fmt.Errorf("%s is not written as %s: %w", path, format, err)
	}
	return ledger.WriteFOCUS(cmd.OutOrStdout(), f.Bill, "DSSN")
}

func billTariffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tariff [EXAMPLE]",
		Short: "Print the tariff in force, or one of the examples: " + strings.Join(ledger.Examples(), ", "),
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, ok := ledger.Example(args[0])
				if !ok {
					return usagef("no tariff is called %q: use one of %s", args[0], strings.Join(ledger.Examples(), ", "))
				}
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var t ledger.Tariff
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/tariff", nil, &t); err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(t)
		},
	}
}
