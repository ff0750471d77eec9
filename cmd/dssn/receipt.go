package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/evidence"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/node"
	"dssn/node/transfer"
)

func queryText(s string) string { return url.QueryEscape(s) }

func receiptCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "receipt",
		Short: "Prove a transfer to a third party",
	}, receiptGetCommand(), receiptVerifyCommand())
}

func receiptGetCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "get TRANSFER [-o FILE]",
		Short: "Fetch the receipt of a settled transfer",
		Args:  exactly("TRANSFER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := transfer.CheckTransferID(args[0]); err != nil {
				return usageError{err}
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var receipt json.RawMessage
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/receipts", northbound.ReceiptRequest{Transfer: args[0]}, &receipt); err != nil {
				return err
			}
			return deliver(cmd, out, receipt, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "receipt of transfer %s written to %s\n", args[0], out)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write (default: print it)")
	return cmd
}

// deliver writes a document to the file out, and says so in words, or prints it.
func deliver(cmd *cobra.Command, out string, doc json.RawMessage, words func(io.Writer) error) error {
	text := append(doc, '\n')
	if out == "" || out == "-" {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	if err := writeWhole(out, text); err != nil {
		return err
	}
	return emit(cmd, doc, words)
}

// writeWhole writes a file whole or not at all.
func writeWhole(path string, text []byte) error {
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		os.Remove(path + ".part")
		return fmt.Errorf("write %s: %w; choose another place with -o", path, err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		os.Remove(path + ".part")
		return fmt.Errorf("write %s: %w; choose another place with -o", path, err)
	}
	return nil
}

func receiptVerifyCommand() *cobra.Command {
	var t trust
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt offline against the evidence log's signed checkpoint",
		Long: `Needs no network. The log's verifier key is taken from --log-key or --policy, or from
the state directory of a node that has joined (it learned the key then); without any
the receipt's own key is used, which proves only that the file agrees with itself.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return verifyReceipt(cmd, args[0], &t) },
	}
	t.flags(cmd)
	return cmd
}

func verifyReceipt(cmd *cobra.Command, path string, t *trust) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("the receipt %s cannot be read: %v; name a file that `dssn receipt get` wrote", path, err)
	}
	policy := t.policy(cmd)
	if t.broken != nil {
		return t.broken
	}
	v, err := evidence.VerifyReceipt(text, policy)
	if err != nil {
		return fmt.Errorf("%s proves nothing: %w; ask the operator for it again", path, err)
	}
	signed, err := ledger.VerifyReceipt(v.Body)
	if err != nil {
		return fmt.Errorf("%s is leaf %d of the log %s, but proves no transfer: %w", path, v.Index, v.Log, err)
	}
	out := struct {
		Body     json.RawMessage `json:"body"`
		Log      string          `json:"log"`
		TreeSize int64           `json:"tree_size"`
		Index    int64           `json:"index"`
		Cosigned []string        `json:"cosigned,omitempty"`
		Trust    string          `json:"trust"`
		SignedBy []dssn.NodeID   `json:"signed_by"`
	}{v.Body, v.Log, v.Size, v.Index, v.Cosigned, t.says, []dssn.NodeID{signed.Record.Holder, signed.Record.Receiver}}
	return emit(cmd, out, func(w io.Writer) error {
		fmt.Fprintf(w, "the receipt is good: leaf %d of %d in the log %s\n", v.Index, v.Size, v.Log)
		return table(w, func(row func(string, ...any)) {
			row("  trusting\t%s", t.says)
			row("  cosigned by\t%s", listOr(v.Cosigned, "nobody"))
			row("  signed by\tthe holder %s and the receiver %s", signed.Record.Holder, signed.Record.Receiver)
			printBody(v.Body, "  ", row)
		})
	})
}

// knownLogKey is what the node of the state directory learned when it joined.
func knownLogKey(cmd *cobra.Command) string {
	text, err := os.ReadFile(filepath.Join(stateDir(cmd, defaultNodeState), "node.json"))
	if err != nil {
		return ""
	}
	var id node.Identity
	if json.Unmarshal(text, &id) != nil {
		return ""
	}
	return id.LogKey
}

// printBody shows the receipt's facts in their own order, those of an object
// within it below its name.
func printBody(body json.RawMessage, indent string, row func(string, ...any)) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return
		}
		if v[0] == '{' {
			row("%s%v\t", indent, k)
			printBody(v, indent+"  ", row)
			continue
		}
		if v[0] == '[' {
			var list []json.RawMessage
			if json.Unmarshal(v, &list) == nil {
				row("%s%v\t%d, with --json in full", indent, k, len(list))
				continue
			}
		}
		row("%s%v\t%s", indent, k, strings.Trim(string(v), `"`))
	}
}
