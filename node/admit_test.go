package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/transfer"
)

func TestAHolderAdmitsAsManyTransfersAsItsGrantAllows(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	data, _ := dssn.ParseDataID("3fff:d55:1:1:2c21:7047:e66c:e21a")
	to, err := dssn.ParseNodeID("3fff:d55:1:2:1:a0b0:c0d0:e0f0")
	if err != nil {
		t.Fatal(err)
	}
	a := &admission{now: func() time.Time { return now }}
	held := func(limit int, begun ...string) {
		s := &southbound.Assignment{Permits: []southbound.Permit{{Data: data.Prefix(), To: to, Until: now.Add(time.Hour), Grant: "g-1", Limit: limit, Begun: begun}}}
		a.assignment.Store(s)
		a.forget(s)
	}
	may := func(name, want string) {
		t.Helper()
		_, err := a.admit(to.Addr(), data, name)
		switch {
		case want == "" && err != nil:
			t.Errorf("transfer %q was refused: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("transfer %q: error %v, want one with %q", name, err, want)
		}
	}
	held(2)
	may(transfer.Metadata, "")
	may("", "belongs to none")
	may("one", "")
	may("one", "")
	may("two", "")
	may("three", "that many have begun")
	held(2, "one") // the controller has heard of the first
	may("two", "")
	may("three", "that many have begun")
	held(2, "one", "elsewhere") // and of one that began at another holder, before ours
	may("one", "")
	may("four", "that many have begun")
	a.assignment.Store(&southbound.Assignment{})
	a.forget(a.assignment.Load())
	if len(a.begun) != 0 {
		t.Errorf("%d grants that are gone are still counted", len(a.begun))
	}
	if _, err := a.admit(netip.MustParseAddr("::1"), data, "one"); err == nil {
		t.Error("a stranger was admitted")
	}
}
