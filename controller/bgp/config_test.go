package bgp

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var ours = netip.MustParsePrefix("3fff:d55::/32")

const good = `{"format":"dssn-bgp/1","as":64512,"neighbours":[{"name":"east","address":"fd00::2","as":64513,"allow":["3fff:d56::/32"]}]}`

func TestMissingSettingsHaveGoodDefaults(t *testing.T) {
	c, err := Read([]byte(good), ours)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Neighbours[0]
	if c.HoldSeconds != 30 || c.RestartSeconds != 120 || c.Listen != "" || !c.RouterID.Is4() || n.Port != 179 || n.MaxPrefixes != 1000 || n.Hops != 1 {
		t.Errorf("read as %+v", c)
	}
	again, err := Read([]byte(good), ours)
	if err != nil || again.RouterID != c.RouterID {
		t.Errorf("the router id was made anew: %v, then %v", c.RouterID, again.RouterID)
	}
}

func TestBadConfigurationsAreRefusedInOneSentence(t *testing.T) {
	for _, c := range []struct{ was, is, want string }{
		{`"as":64512`, `"as":64512,"colour":"red"`, `unknown field "colour"`},
		{`dssn-bgp/1`, `dssn-bgp/2`, `the format is "dssn-bgp/2"`},
		{`]}]}`, `]}]} {}`, `behind the object`},
		{`"as":64512`, `"as":0`, `0 is no AS`},
		{`"as":64512`, `"as":23456`, `23456 is no AS`},
		{`"as":64512`, `"as":64512,"router_id":"fd00::1"`, `router_id fd00::1`},
		{`"as":64512`, `"as":64512,"hold_seconds":2`, `hold_seconds 2`},
		{`"as":64512`, `"as":64512,"restart_seconds":5000`, `restart_seconds 5000`},
		{`"as":64512`, `"as":64512,"listen":"179"`, `listen "179"`},
		{`"as":64512`, `"as":64512,"next_hop":"fe80::1"`, `next_hop fe80::1`},
		{`"as":64512`, `"as":64512,"announce":["3fff:d56:1::/48"]`, `3fff:d56:1::/48 is not a region of ours`},
		{`"as":64512`, `"as":64512,"announce":["3fff:d55::/32"]`, `not a region of ours`},
		{good[strings.Index(good, `[{`):], `[]}`, `no neighbour`},
		{`"name":"east"`, `"name":"../x"`, `"../x" cannot name a neighbour`},
		{`"fd00::2"`, `"10.0.0.1"`, `write a global IPv6 address`},
		{`"fd00::2"`, `"fe80::1%eth0"`, `write a global IPv6 address`},
		{`"as":64513`, `"as":65535`, `the AS 65535`},
		{`["3fff:d56::/32"]`, `[]`, `east is allowed nothing`},
		{`["3fff:d56::/32"]`, `["::/0"]`, `allow ::/0 of east`},
		{`["3fff:d56::/32"]`, `["3fff:d56:1:1::/64"]`, `allow 3fff:d56:1:1::/64 of east`},
		{`["3fff:d56::/32"]`, `["3fff:d55:9::/48"]`, `overlaps our own`},
		{`["3fff:d56::/32"]`, `["3fff::/16"]`, `overlaps our own`},
		{`["3fff:d56::/32"]`, `["5f00:d56::/32"]`, `holds locators`},
		{`["3fff:d56::/32"]`, `["3fff:d56::1/32"]`, `allow 3fff:d56::1/32 of east`},
		{`]}]}`, `]},{"name":"east","address":"fd00::3","as":64514,"allow":["3fff:d57::/32"]}]}`, `two neighbours are called "east"`},
		{`]}]}`, `]},{"name":"west","address":"fd00::2","as":64514,"allow":["3fff:d57::/32"]}]}`, `the same address fd00::2`},
	} {
		text := strings.Replace(good, c.was, c.is, 1)
		_, err := Read([]byte(text), ours)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Read(%s)\nsaid %v, want %q in it", text, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"format":"dssn-bgp/1","as":4200000000,"router_id":"1.2.3.4","listen":"[::]:179","next_hop":"fd00::9","announce":["3fff:d55:1::/48"],
		"neighbours":[{"name":"a","address":"fd00::2","port":1179,"as":1,"allow":["2001:db8::/32","3fff:d56::/32"],"max_prefixes":5,"hops":4,"password":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Read(text, ours)
		if err != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Read(b, ours)
		if err != nil {
			t.Fatalf("what was read as %s is refused when it is read again: %v", b, err)
		}
		if !reflect.DeepEqual(c, back) {
			t.Errorf("%s\nwas read again as %+v", b, back)
		}
	})
}
