package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/content"
	perfreport "dssn/perf/report"
)

func perfReportCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "report RESULT.json",
		Short: "Show a result: in words, or as one HTML page with everything in it",
		Long: `Shows the result of a measurement (dssn-perf-result/1). With -o it becomes one HTML
file that needs nothing else and no network: throughput over time, percentiles, loss
against rate, the settings, the machines, the exact command, the tester's own limits,
and the result itself, which compare and verify read out of the page too.`,
		Args: exactly("RESULT.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := perfreport.ReadFile(args[0])
			if err != nil {
				return err
			}
			if path == "" {
				return emit(cmd, r, r.Print)
			}
			return writeTo(cmd, path, func(w io.Writer) error { return perfreport.HTML(w, r) })
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "", "HTML `file` to write; - is standard output")
	return c
}

// writeTo writes a file, whole or not at all, or standard output for -.
func writeTo(cmd *cobra.Command, path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(cmd.OutOrStdout())
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("write %s: %w; choose another place", path, err)
	}
	err = closeAfter(f, write(f))
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
	}
	return err
}

func perfCompareCommand() *cobra.Command {
	var confidence float64
	var path string
	c := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Compare two results, with intervals of confidence",
		Long: `Sets result B against result A. Means of repeated runs are compared by Welch's
interval, shares such as loss by Newcombe's, percentiles by intervals of ranks; a
difference is better or worse only where its interval does not hold zero. What
else differs between the two, such as the machine, is listed.`,
		Args: exactly("A.json", "B.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := perfreport.ReadFile(args[0])
			if err != nil {
				return err
			}
			b, err := perfreport.ReadFile(args[1])
			if err != nil {
				return err
			}
			k, err := perfreport.Compare(filepath.Base(args[0]), a, filepath.Base(args[1]), b, confidence)
			if err != nil {
				return usageError{err}
			}
			if path != "" {
				return writeTo(cmd, path, func(w io.Writer) error { return k.HTML(w, a, b) })
			}
			return emit(cmd, k, k.Print)
		},
	}
	c.Flags().Float64Var(&confidence, "confidence", 0.95, "of the intervals, above 0.5 and below 1")
	c.Flags().StringVar(&path, "html", "", "`file` to write the comparison to as one page; - is standard output")
	return c
}

// signer is one signature as verify shows it.
type signer struct {
	Role string    `json:"role"`
	Name string    `json:"name,omitempty"`
	Node string    `json:"node,omitempty"`
	Key  string    `json:"key"`
	At   time.Time `json:"at"`
	// OwnKey is true if the node's identifier certifies the key.
	OwnKey bool `json:"own_key"`
}

func perfVerifyCommand() *cobra.Command {
	var keys []string
	c := &cobra.Command{
		Use:   "verify RESULT.json",
		Short: "Check who signed a result, and that it was not changed since",
		Long: `Checks every signature of a result. That a signature fits says that the holder of
its key signed this very result; whose key it is, the node's identifier says where
one is given (it certifies its node's key), or you do with --key ROLE=BASE64.`,
		Args: exactly("RESULT.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			want := map[string]string{}
			for _, k := range keys {
				role, key, ok := strings.Cut(k, "=")
				if raw, err := base64.StdEncoding.DecodeString(key); !ok || err != nil || len(raw) != 32 {
					return usagef("--key %s is not ROLE=KEY: give the role and its Ed25519 key in base64", k)
				}
				want[role] = key
			}
			r, err := perfreport.ReadFile(args[0])
			if err != nil {
				return err
			}
			if err := r.Verify(); errors.Is(err, perfreport.ErrUnsigned) {
				return fmt.Errorf("%s proves nothing: %w; ask both ends to sign", args[0], err)
			} else if err != nil {
				return fmt.Errorf("%s proves nothing: %w", args[0], err)
			}
			var list []signer
			for _, s := range r.Signatures {
				v := signer{s.Role, s.Name, s.Node, base64.StdEncoding.EncodeToString(s.Key), s.At, false}
				if s.Node != "" {
					if v.OwnKey = certifies(s.Node, s.Key); !v.OwnKey {
						return fmt.Errorf("%s proves nothing: the %s says that it is %s, whose identifier certifies another key", args[0], s.Role, s.Node)
					}
				}
				if k := want[s.Role]; k != "" && k != v.Key {
					return fmt.Errorf("%s proves nothing to you: the %s signed with the key %s, not with %s", args[0], s.Role, v.Key, k)
				}
				delete(want, s.Role)
				list = append(list, v)
			}
			for role := range want {
				return fmt.Errorf("%s proves nothing to you: the %s has not signed it", args[0], role)
			}
			return emit(cmd, list, func(w io.Writer) error {
				for _, v := range list {
					who := strings.TrimSpace(v.Name + " " + v.Node)
					if v.OwnKey {
						who += ", whose identifier certifies the key"
					}
					fmt.Fprintf(w, "the %s signed it on %s: %s\n  key %s\n", v.Role, v.At.Format("2006-01-02 15:04:05 UTC"), who, v.Key)
				}
				for _, d := range r.Distrust() {
					fmt.Fprintf(w, "note: %s\n", d)
				}
				return nil
			})
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "`ROLE=KEY` that must have signed; may be given again")
	return c
}

// saltTries is how often a registry raises a salt before somebody should look.
const saltTries = 64

// certifies reports whether a node's identifier was minted of the key.
func certifies(node string, key []byte) bool {
	id, err := dssn.ParseNodeID(node)
	if err != nil {
		return false
	}
	for salt := range uint32(saltTries) {
		if got, err := content.MintNode(netip.PrefixFrom(id.Addr(), 64).Masked(), key, salt); err == nil && got == id {
			return true
		}
	}
	return false
}
