package xdp_test

import (
	"strings"
	"testing"

	"dssn/xdp"

	"github.com/cilium/ebpf/btf"
)

// verdictEnum reads the verdicts from the program's own type information.
func verdictEnum(t *testing.T) (names []string) {
	spec, err := xdp.TransitSpec()
	if err != nil {
		t.Fatal(err)
	}
	var e *btf.Enum
	if err := spec.Types.TypeByName("verdict", &e); err != nil {
		t.Fatal(err)
	}
	for i, v := range e.Values[:len(e.Values)-1] {
		if v.Value != uint64(i) {
			t.Fatalf("verdict %s has the value %d, not %d", v.Name, v.Value, i)
		}
		names = append(names, strings.ToLower(v.Name))
	}
	return names
}
