package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/policy"
)

func policyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "policy",
		Short: "The operator's policies above all grants: check, apply, show, why",
		Long: `Policies are Cedar text. They forbid what grants would let nodes reach; nothing
is opened by them. A file carries its own tests in comments:

  // test: deny by=no-health-abroad institution=abroad category=health grade=core
  // test: allow institution=south category=health grade=core
  @id("no-health-abroad")
  forbid (principal, action, resource)
  when { resource.category == "health" && principal.institution == "abroad" };

The principal has name, institution, hub and roles; the resource data, owner,
grade, level (0 to 12) and category; the context purpose.`,
	}, policyCheckCommand(), policyApplyCommand(), policyShowCommand(), policyWhyCommand())
}

func readPolicy(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("the policies cannot be read: %v; name a file", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, policy.MaxBytes+1))
	if err != nil {
		return "", usagef("the policies cannot be read: %v; name a file", err)
	}
	return string(text), nil
}

func policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Run the tests that a policy file carries; asks no controller",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			set, err := policy.Parse(text)
			if err != nil {
				return usageError{err}
			}
			n, failures := set.Check()
			out := struct {
				Policies []string         `json:"policies"`
				Tests    int              `json:"tests"`
				Failures []policy.Failure `json:"failures"`
			}{set.IDs(), n, append([]policy.Failure{}, failures...)}
			if err := emit(cmd, out, func(w io.Writer) error {
				for _, f := range failures {
					if f.Line > 0 {
						fmt.Fprintf(w, "%s:%d: ", args[0], f.Line)
					}
					fmt.Fprintln(w, f.Text)
				}
				if len(failures) > 0 {
					return nil
				}
				_, err := fmt.Fprintf(w, "%d policies, %d tests, all hold\n", len(out.Policies), n)
				return err
			}); err != nil {
				return err
			}
			if len(failures) > 0 {
				return fmt.Errorf("%d of %s's tests do not hold; correct the policies or the tests", len(failures), args[0])
			}
			return nil
		},
	}
}

func policyApplyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "apply FILE",
		Short: "Put a policy file in force instead of the one before; an empty file takes all away",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var p northbound.Policy
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/policy", northbound.PolicyRequest{Text: text}, &p); err != nil {
				return err
			}
			return emit(cmd, p, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d policies are in force, with %d tests that hold\n", len(p.Policies), p.Tests)
				return err
			})
		},
	}
}

func policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the policies in force",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var p northbound.Policy
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/policy", nil, &p); err != nil {
				return err
			}
			return emit(cmd, p, func(w io.Writer) error {
				if len(p.Policies) == 0 {
					_, err := fmt.Fprintln(w, "no policies are in force: grants alone decide")
					return err
				}
				_, err := fmt.Fprintf(w, "// by %s since %s\n%s\n", p.By, moment(p.Since), strings.TrimSuffix(p.Text, "\n"))
				return err
			})
		},
	}
}

func policyWhyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why NODE IDENTIFIER",
		Short: "Say whether a node can reach a dataset now: by which grant, or why not",
		Args:  exactly("NODE", "IDENTIFIER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := dssn.ParseDataID(args[1])
			if err != nil {
				return usageError{err}
			}
			c, err := open(cmd)
			if err != nil {
				return err
			}
			var r northbound.Reach
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/policy/why", northbound.ReachRequest{Node: args[0], Data: id}, &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error {
				word := "no"
				if r.Allowed {
					word = "yes"
				}
				fmt.Fprintf(w, "%s: %s\n", word, r.Detail)
				return printRules(w, r.Rules)
			})
		},
	}
}
