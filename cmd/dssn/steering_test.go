package main

import (
	"strings"
	"testing"

	"dssn/controller/southbound"
	"dssn/node"
)

func TestSteeringIsSaidAsItIs(t *testing.T) {
	for _, c := range []struct {
		name string
		s    node.Status
		want string
	}{
		{"all take part", node.Status{Role: southbound.RoleTerminal, Generation: 1, Steering: true, Features: southbound.Features{CarrierEgress: true}}, "by carriers"},
		{"another one does not", node.Status{Role: southbound.RoleTerminal, Generation: 1, Features: southbound.Features{CarrierEgress: true}}, "shortest paths: not every node"},
		{"this one does not", node.Status{Role: southbound.RoleBackbone, Generation: 1, Features: southbound.Features{Why: "no next-csid"}}, "shortest paths: no next-csid"},
	} {
		if got := steeringText(c.s); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want it to begin with %q", c.name, got, c.want)
		}
	}
}
