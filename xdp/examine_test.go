package xdp_test

import (
	"strings"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

func TestExamineTellsWhatAVethCanDo(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	a.IP(t, "link", "set", "a0", "mtu", "9000")
	found := map[string]xdp.Finding{}
	a.Do(t, func() error {
		list, err := xdp.Examine("a0")
		for _, f := range list {
			if found[f.About] = f; f.Found == "" {
				t.Errorf("%s: nothing was found", f.About)
			}
			t.Logf("%-15s %s | %s | %s", f.About, f.Found, f.Advice, f.Run)
		}
		return err
	})
	for about, want := range map[string]string{
		"driver": "veth", "XDP": "native", "zero-copy": "the driver has none", "multi-buffer": "jumbo frames",
		"frame size": "several frames", "queues": "1 of at most", "tx checksums": "veth", "AF_XDP": "may open",
	} {
		if !strings.Contains(found[about].Found, want) {
			t.Errorf("%s: found %q, want it to say %q", about, found[about].Found, want)
		}
	}
	if run := found["frame size"].Run; run != "ip link set a0 mtu 3492" {
		t.Errorf("the way to a smaller MTU is %q", run)
	}
}

func TestExamineNamesAnInterfaceThatIsNot(t *testing.T) {
	if _, err := xdp.Examine("nosuch0"); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("error %v", err)
	}
}
