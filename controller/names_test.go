package controller_test

import (
	"context"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"dssn/controller"
	"dssn/controller/northbound"
	"dssn/internal/need"
)

// Names of what was published, asked for with dig over UDP and TCP.
func TestDigFindsDatasets(t *testing.T) {
	dig := need.Tool(t, "dig")
	leaked := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaked) })
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	at := make(chan netip.AddrPort, 1)
	w := newWorld(t, ctx, func(o *controller.Options) {
		o.DNS, o.DNSDomain = "[::1]:0", "example.net"
		o.DNSReady = func(a netip.AddrPort) { at <- a }
	})
	port := strconv.Itoa(int((<-at).Port()))
	ask := func(words ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, dig, append([]string{"@::1", "-p", port, "+norecurse", "+tries=2"}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %s: %v\n%s", strings.Join(words, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const name = "rain.north.data.example.net"
	if out := ask(name, "AAAA"); !strings.Contains(out, "status: NXDOMAIN") || !strings.Contains(out, "SOA") {
		t.Errorf("before it is published: %s", out)
	}
	first := must(w.holder.Record("rain", 1<<30))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: first}))(t)
	for _, over := range []string{"+notcp", "+tcp"} {
		if got := ask("+short", over, name, "AAAA"); got != first.ID.String() {
			t.Errorf("%s: %s is %q, want %s", over, name, got, first.ID)
		}
		if got := ask("+short", over, "-x", first.ID.String()); got != name+"." {
			t.Errorf("%s: %s is %q, want %s", over, first.ID, got, name)
		}
	}
	second := must(w.holder.Record("rain", 2<<30))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: second}))(t)
	if got := ask("+short", name, "AAAA"); got != second.ID.String() || first.ID == second.ID {
		t.Errorf("after a new version %s is %q, want %s", name, got, second.ID)
	}
	if got := ask("+short", "-x", first.ID.String()); got != name+"." {
		t.Errorf("the old version is called %q", got)
	}
	if out := ask("north.data.example.net", "AAAA"); !strings.Contains(out, "status: NOERROR") || !strings.Contains(out, "ANSWER: 0") {
		t.Errorf("the registrant's own name: %s", out)
	}
	if out := ask("example.org", "AAAA"); !strings.Contains(out, "status: REFUSED") {
		t.Errorf("a name of somebody else: %s", out)
	}
	if got := ask("+short", "data.example.net", "NS"); got != "ns.example.net." {
		t.Errorf("the zone's server is %q", got)
	}
	if out := ask("+edns=1", "+noednsneg", name, "AAAA"); !strings.Contains(out, "BADVERS") {
		t.Errorf("EDNS version 1: %s", out)
	}
}

func TestHalfANameServerIsRefused(t *testing.T) {
	for _, o := range []controller.Options{{DNS: "[::1]:0"}, {DNSDomain: "example.net"}, {DNS: "here", DNSDomain: "example.net"}, {DNS: "[::1]:0", DNSDomain: "exa mple"}} {
		o.State = t.TempDir() + "/state"
		if err := controller.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "give both") {
			t.Errorf("%q %q: %v", o.DNS, o.DNSDomain, err)
		}
	}
}
