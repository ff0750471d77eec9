package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn"
)

// What the shell can complete beyond the names of commands and flags: values
// that are a few words, and the names of things that there are, which the
// program of the state directory is asked for. Where it does not answer in a
// moment there is nothing to complete, and no error.

// completeWithin is how long a person waits for a completion.
const completeWithin = 2 * time.Second

// named are the things of an argument or a flag: where to ask for them, and
// which field names one and which describes it.
type named struct{ path, name, about string }

var (
	someReservation = named{"/v1/reservations", "id", "state"}
	someDataset     = named{"/v1/datasets", "record.id", "record.name"}
	someInstitution = named{"/v1/institutions", "name", "registrant"}
	someNode        = named{"/v1/status#nodes", "name", "role"}
	somePerson      = named{"/v1/people", "name", "role"}
	someGrant       = named{"/v1/grants", "id", "to"}
	someFreeze      = named{"/v1/freezes", "id", "reason"}
)

// arguments are the first arguments that can be completed, by the command's path.
var arguments = map[string]named{
	"dssn release": someReservation, "dssn modify": someReservation, "dssn extend": someReservation, "dssn boost": someReservation, "dssn why": someReservation,
	"dssn grant": someDataset, "dssn get": someDataset, "dssn dataset show": someDataset, "dssn dataset resolve": someDataset,
	"dssn revoke": someGrant, "dssn approve": someGrant, "dssn unfreeze": someFreeze,
	"dssn node remove": someNode, "dssn person remove": somePerson,
}

// flagThings are flags whose values can be completed, wherever they are.
var flagThings = map[string]named{"institution": someInstitution, "consumer": someNode, "device": someNode}

// flagWords are flags whose values are a few words.
var flagWords = map[string][]string{
	"class":    {"assured", "elastic", "bulk", "background"},
	"category": categoryWords(),
}

func categoryWords() (out []string) {
	for c := range dssn.Category(16) {
		out = append(out, c.String())
	}
	return out
}

// completeArguments teaches the commands below root what can be completed.
func completeArguments(root *cobra.Command) {
	for _, c := range root.Commands() {
		completeArguments(c)
	}
	if t, ok := arguments[root.CommandPath()]; ok && root.ValidArgsFunction == nil {
		root.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return t.complete(cmd, begun)
		}
	}
	for name, t := range flagThings {
		if root.Flags().Lookup(name) != nil {
			// An error means that the command says itself what can be completed.
			_ = root.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
				return t.complete(cmd, begun)
			})
		}
	}
	for name, words := range flagWords {
		if root.Flags().Lookup(name) != nil {
			_ = root.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// complete asks for the things and keeps those that begin as was typed.
func (t named) complete(cmd *cobra.Command, begun string) (out []string, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmdContext(cmd)), completeWithin)
	defer cancel()
	c, err := open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	path, part, _ := strings.Cut(t.path, "#")
	var answer json.RawMessage
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if part != "" {
		var whole map[string]json.RawMessage
		if json.Unmarshal(answer, &whole) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		answer = whole[part]
	}
	var list []map[string]any
	if json.Unmarshal(answer, &list) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, e := range list {
		if implicit, _ := e["implicit"].(bool); implicit {
			continue
		}
		if name := field(e, t.name); strings.HasPrefix(name, begun) {
			out = append(out, name+"\t"+field(e, t.about))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func cmdContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// field returns what a path such as "record.name" leads to, as text.
func field(e map[string]any, path string) string {
	first, rest, deeper := strings.Cut(path, ".")
	if deeper {
		m, _ := e[first].(map[string]any)
		return field(m, rest)
	}
	if v, ok := e[first]; ok {
		return fmt.Sprint(v)
	}
	return ""
}
