package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dssn/controller/evidence"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

// trust are the flags that say whose word on the evidence log is believed.
type trust struct {
	key, file string
	says      string // what was trusted, for people
	broken    error
}

func (t *trust) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.key, "log-key", "", "verifier `key` of the operator's evidence log")
	f.StringVar(&t.file, "policy", "", "policy `file`: the log's key and which witnesses have to have cosigned")
}

// policy is what the flags, or the node of the state directory, say. A file that
// cannot be read gives a policy that nothing satisfies; err says why.
func (t *trust) policy(cmd *cobra.Command) evidence.Policy {
	var p evidence.Policy
	if t.file != "" {
		text, err := os.ReadFile(t.file)
		if err == nil {
			p, err = evidence.ReadPolicy(text)
		}
		if err != nil {
			t.broken = usagef("the policy %s cannot be used: %v", t.file, err)
			return p
		}
		t.says = "the policy " + t.file
	}
	if t.key != "" {
		p.LogKey, t.says = t.key, "the key given"
	}
	if p.LogKey == "" {
		if p.LogKey = knownLogKey(cmd); p.LogKey != "" {
			t.says = strings.TrimPrefix(t.says+", the key this node learned when it joined", ", ")
		}
	}
	if p.LogKey == "" {
		t.says = "the file's own key only: give the operator's with --log-key or --policy"
	}
	return p
}

func evidenceCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "evidence",
		Short: "Copy and check the log of all that was decided and used",
	}, evidenceCheckpointCommand(), evidenceFetchCommand(), evidenceVerifyCommand())
}

func evidenceCheckpointCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the log's checkpoint, with the witnesses' signatures",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			body, err := c.stream(cmd.Context(), http.MethodGet, "/evidence/checkpoint", nil)
			if err != nil {
				return err
			}
			defer body.Close()
			text, err := io.ReadAll(io.LimitReader(body, 1<<20))
			if err != nil {
				return err
			}
			return emit(cmd, string(text), func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			})
		},
	}
}

func evidenceFetchCommand() *cobra.Command {
	var t trust
	cmd := &cobra.Command{
		Use:   "fetch DIR",
		Short: "Copy the whole log into a directory, checking it on the way",
		Long: `The directory has what the operator serves, as C2SP tlog-tiles: checkpoint, tile/….
Fetched again, it has to be a continuation of what is there already; a log that was
cut or rewritten is refused and the old copy stays, which proves it.`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			policy := t.policy(cmd)
			if t.broken != nil {
				return t.broken
			}
			fetch := func(path string) ([]byte, error) {
				body, err := c.stream(cmd.Context(), http.MethodGet, "/evidence/"+path, nil)
				if err != nil {
					return nil, err
				}
				defer body.Close()
				return io.ReadAll(io.LimitReader(body, 32<<20))
			}
			if policy.LogKey == "" {
				var st northbound.Status
				if err := c.call(cmd.Context(), http.MethodGet, "/v1/status", nil, &st); err != nil {
					return err
				}
				policy.LogKey, t.says = st.LogKey, "the key that the controller itself gave: compare it with the operator's"
			}
			got, err := evidence.Mirror(policy, fetch, args[0])
			if err != nil {
				return err
			}
			return emit(cmd, checkedLog(got, t.says), func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d leaves of the log %s are in %s and good\n  cosigned by %s\n  trusting %s\n", got.Size, got.Origin, args[0], listOr(got.Cosigned, "nobody"), t.says)
				return err
			})
		},
	}
	t.flags(cmd)
	return cmd
}

// logOutput is what --json prints of a checked log.
type logOutput struct {
	Log      string   `json:"log"`
	Size     int64    `json:"size"`
	Root     string   `json:"root"`
	Cosigned []string `json:"cosigned,omitempty"`
	Trust    string   `json:"trust"`
}

func checkedLog(c *evidence.Checked, says string) logOutput {
	return logOutput{c.Origin, c.Size, hex.EncodeToString(c.Root[:]), c.Cosigned, says}
}

func evidenceVerifyCommand() *cobra.Command {
	var t trust
	var older string
	cmd := &cobra.Command{
		Use:   "verify DIR|RECEIPT|BILL",
		Short: "Check a copy of the log, a receipt or a bill, offline",
		Long: `Needs no network. A directory is a copy that dssn evidence fetch made: every entry
has to hash to the root that the log signed. With --older, a checkpoint kept from
before, the log has to be a continuation of that one. A file is a receipt or an issued bill.`,
		Args: exactly("DIR|RECEIPT|BILL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := os.Stat(args[0])
			if err != nil {
				return usagef("%s cannot be read: %v; name a directory from `dssn evidence fetch`, a receipt or a bill", args[0], err)
			}
			if !st.IsDir() {
				if isBill(args[0]) {
					return verifyBill(cmd, args[0], &t, "")
				}
				return verifyReceipt(cmd, args[0], &t)
			}
			policy := t.policy(cmd)
			if t.broken != nil {
				return t.broken
			}
			if policy.LogKey == "" {
				return usagef("whose log is %s? give the operator's key with --log-key or --policy", args[0])
			}
			var old []byte
			if older != "" {
				if old, err = os.ReadFile(older); err != nil {
					return usagef("the older checkpoint %s cannot be read: %v", older, err)
				}
			}
			kinds := map[string]int{}
			got, err := evidence.VerifyLog(policy, old, evidence.Dir(args[0]), func(_ int64, leaf []byte) error {
				var k struct {
					Kind string `json:"kind"`
				}
				if json.Unmarshal(leaf, &k) != nil || k.Kind == "" {
					k.Kind = "other"
				}
				kinds[k.Kind]++
				return nil
			})
			if err != nil {
				return err
			}
			out := struct {
				logOutput
				Kinds map[string]int `json:"kinds"`
			}{checkedLog(got, t.says), kinds}
			return emit(cmd, out, func(w io.Writer) error {
				fmt.Fprintf(w, "the log %s is good: %d leaves hash to its root %s\n", got.Origin, got.Size, out.Root)
				return table(w, func(row func(string, ...any)) {
					row("  cosigned by\t%s", listOr(got.Cosigned, "nobody"))
					row("  trusting\t%s", t.says)
					for _, k := range slices.Sorted(maps.Keys(kinds)) {
						row("  %s\t%d", k, kinds[k])
					}
				})
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&older, "older", "", "checkpoint `file` of before, of which the log has to be a continuation")
	return cmd
}

// isBill reports whether a file says that it is a bill.
func isBill(path string) bool {
	text, err := os.ReadFile(path)
	var f struct {
		Format string `json:"format"`
	}
	return err == nil && json.Unmarshal(text, &f) == nil && f.Format == northbound.BillFileFormat
}

func listOr(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// recordsInLog looks for every record that a bill cites in a copy of the log, and
// returns how many there were: each transfer's record is a leaf, each interval of a
// contract leads to a leaf, or was decided on by the operator in one.
func recordsInLog(dir string, policy evidence.Policy, f *northbound.BillFile) (n int, err error) {
	if policy.LogKey == "" {
		var own evidence.File
		if json.Unmarshal(f.Evidence, &own) == nil {
			policy.LogKey = own.LogKey
		}
	}
	want := ledger.Cited(f.Records)
	if _, err := evidence.VerifyLog(policy, nil, evidence.Dir(dir), want.Leaf); err != nil {
		return 0, err
	}
	return want.Found()
}
