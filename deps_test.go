package dssn_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// The rooms of this module and what each may import of ours, lowest first. A
// room's rule covers the folders below it unless they have a rule of their own.
// A room may always import itself.
//
//	dssn, xdp, content  <  topology, southbound, dataplane  <  controller, node  <  perf  <  cmd/dssn
const rooms = `
	dssn                    -
	internal                dssn
	xdp                     dssn
	content                 dssn
	topology                dssn
	controller/southbound   dssn
	controller/northbound   dssn content controller/southbound
	dataplane/aead          -
	dataplane               dssn xdp dataplane/aead
	controller/policy       dssn
	controller              dssn controller/policy content topology controller/southbound controller/northbound
	node                    dssn xdp content dataplane dataplane/aead controller/southbound
	perf                    dssn xdp content topology dataplane dataplane/aead controller/southbound controller/northbound controller node
	cmd/dssn                dssn xdp content topology dataplane dataplane/aead controller/southbound controller/northbound controller/policy controller node perf internal
	deploy                  -
`

// The doors: a third-party module is imported by the rooms named here and by no
// other, so that replacing it is one room's work. The tests of any room may
// also use the modules of the last group, and those marked oracle.
const doors = `
	github.com/cilium/ebpf                 xdp
	github.com/gaissmai/bart               dataplane/fib
	github.com/vishvananda/netlink         node/kernel perf/lab
	github.com/vishvananda/netns           node/kernel perf/lab
	github.com/cedar-policy/cedar-go       controller/policy
	github.com/osrg/gobgp/v3               controller/bgp
	github.com/miekg/dns                   controller/names
	github.com/xtaci/kcp-go/v5             node/transfer
	golang.zx2c4.com/wireguard             dataplane/session node/tunnel node/softport dataplane/wgtest
	github.com/google/gopacket             perf oracle
	lukechampine.com/blake3                content oracle
	modernc.org/sqlite                     controller/journal
	github.com/jackc/pgx/v5                controller/journal
	connectrpc.com/connect                 controller node
	golang.org/x/mod                       controller/evidence oracle
	github.com/cockroachdb/apd/v3          controller/ledger
	github.com/danielgtaylor/huma/v2       controller/northbound
	github.com/HdrHistogram/hdrhistogram-go  perf oracle
	github.com/pelletier/go-toml/v2        perf
	github.com/spf13/cobra                 cmd/dssn
	github.com/vbauerster/mpb/v8           cmd/dssn
	github.com/mmcloughlin/avo             dataplane/aead
	github.com/hdevalence/ed25519consensus controller
	golang.org/x/sys                       xdp dataplane node perf controller/journal content cmd/dssn internal
	golang.org/x/net                       xdp dataplane node perf
	golang.org/x/crypto                    dataplane node oracle

	github.com/google/go-cmp               tests
	github.com/rogpeppe/go-internal        tests
	go.uber.org/goleak                     tests
	gopkg.in/yaml.v3                       tests
	pgregory.net/rapid                     tests
`

// rule is one line of the tables above.
type rule struct {
	name string
	may  []string
}

func parseRules(table string) (rules []rule) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 {
			rules = append(rules, rule{f[0], f[1:]})
		}
	}
	return rules
}

// within reports whether path p lies in folder dir.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// longest finds the rule whose name is the longest folder holding p.
func longest(rules []rule, p string) (best rule, ok bool) {
	for _, r := range rules {
		if within(p, r.name) && len(r.name) >= len(best.name) {
			best, ok = r, true
		}
	}
	return best, ok
}

// room drops the module's name: "dssn/node/kernel" is in node/kernel, "dssn" itself in dssn.
func room(importPath string) string {
	if importPath == "dssn" {
		return "dssn"
	}
	return strings.TrimPrefix(importPath, "dssn/")
}

func TestImportsGoOneWay(t *testing.T) {
	rules := parseRules(rooms)
	for _, f := range goFiles(t) {
		from, ok := longest(rules, f.room())
		if !ok {
			t.Errorf("%s: no room holds the folder %s: give it a line in deps_test.go", f.path, path.Dir(f.path))
			continue
		}
		for _, imp := range f.imports(t) {
			if imp != "dssn" && !strings.HasPrefix(imp, "dssn/") {
				continue
			}
			to, ok := longest(rules, room(imp))
			switch {
			case !ok:
				t.Errorf("%s imports %s, which is in no room of deps_test.go", f.path, imp)
			case f.forTests() && (within(imp, "dssn/internal") || room(imp) == f.room()):
			case to.name != from.name && !slices.Contains(from.may, to.name):
				t.Errorf("%s imports %s: room %s may import %s", f.path, imp, from.name, strings.Join(from.may, ", "))
			}
		}
	}
}

func TestEveryModuleHasOneDoor(t *testing.T) {
	rules := parseRules(doors)
	for _, f := range goFiles(t) {
		for _, imp := range f.imports(t) {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") { // the standard library and ourselves
				continue
			}
			door, ok := longest(rules, imp)
			if !ok {
				t.Errorf("%s imports %s, which has no door: choose its room in deps_test.go", f.path, imp)
				continue
			}
			inside := slices.ContainsFunc(door.may, func(r string) bool { return within(f.room(), r) })
			if f.test() {
				inside = inside || slices.Contains(door.may, "tests") || slices.Contains(door.may, "oracle") || slices.Contains(testsMayUse, door.name)
			}
			if !inside {
				t.Errorf("%s imports %s, whose door is %s", f.path, imp, strings.Join(door.may, ", "))
			}
		}
	}
}

// A helper package (wgtest, porttest) is for tests: wireguard-go's device, for
// one, is an oracle and no part of the product.
func TestHelpersOfTestsStayInTests(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.imports(t) {
			if strings.HasPrefix(imp, "dssn/") && strings.HasSuffix(imp, "test") && !f.forTests() {
				t.Errorf("%s imports %s, which is for tests", f.path, imp)
			}
		}
	}
}

// testsMayUse are modules with which tests of any room build their surroundings
// (namespaces, links, raw sockets).
var testsMayUse = []string{
	"github.com/vishvananda/netlink",
	"github.com/vishvananda/netns",
	"golang.org/x/sys",
	"golang.org/x/net",
}
