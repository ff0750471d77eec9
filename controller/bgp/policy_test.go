package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestRefusalSaysWhichRuleWasBroken(t *testing.T) {
	c, err := Read([]byte(`{"format":"dssn-bgp/1","as":64512,"neighbours":[
		{"name":"east","address":"fd00::2","as":64513,"allow":["3fff:d56::/32","3fff:e00:7::/48"]},
		{"name":"border","address":"fd00::3","as":64512,"allow":["3fff:d57::/32"]}]}`), ours)
	if err != nil {
		t.Fatal(err)
	}
	east, border := &c.Neighbours[0], &c.Neighbours[1]
	for _, x := range []struct {
		from   *Neighbour
		prefix string
		path   []uint32
		want   string // "" is taken
	}{
		{east, "3fff:d56:1::/48", []uint32{64513}, ""},
		{east, "3fff:d56::/32", []uint32{64513, 64999}, ""},
		{east, "3fff:e00:7::/48", []uint32{64513}, ""},
		{east, "3fff:e00::/32", []uint32{64513}, "outside"}, // wider than what is allowed
		{east, "3fff:d57:1::/48", []uint32{64513}, "outside what east is allowed"},
		{east, "::/0", []uint32{64513}, "outside"},
		{east, "3fff:d55:1::/48", []uint32{64513}, "outside"}, // ours
		{east, "3fff:d56:1:2::/64", []uint32{64513}, "longer than a region"},
		{east, "3fff:d56:1::/48", []uint32{64999, 64513}, "does not begin with east's AS 64513"},
		{east, "3fff:d56:1::/48", nil, "does not begin with"},
		{east, "3fff:d56:1::/48", []uint32{64513, 64512}, "our own AS"},
		{east, "3fff:d56:1::/48", slices.Repeat([]uint32{64513}, 33), "33 ASes"},
		{border, "3fff:d57:1::/48", []uint32{64999}, ""}, // a router of ours passes on what others say
		{border, "3fff:d57:1::/48", nil, ""},
	} {
		got := c.Refusal(x.from, netip.MustParsePrefix(x.prefix), x.path)
		if (x.want == "") != (got == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s by %s with path %v: %q, want %q", x.prefix, x.from.Name, x.path, got, x.want)
		}
	}
}

func TestRegionsHoldTheirPrefixes(t *testing.T) {
	var in []netip.Prefix
	for _, s := range []string{"3fff:d55:2:1::/64", "3fff:d55:1:1::/64", "3fff:d55:1:2::/64", "3fff:d55::/32"} {
		in = append(in, netip.MustParsePrefix(s))
	}
	want := []netip.Prefix{netip.MustParsePrefix("3fff:d55:1::/48"), netip.MustParsePrefix("3fff:d55:2::/48")}
	if got := Regions(in); !slices.Equal(got, want) {
		t.Errorf("Regions(%v) = %v, want %v", in, got, want)
	}
}
