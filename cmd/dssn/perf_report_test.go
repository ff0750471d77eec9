package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	perfreport "dssn/perf/report"
	"dssn/perf/y1564"
)

// run1 runs a command line in this process.
func run1(args ...string) (out, errs string, code int) {
	root := rootCommand()
	var o, e bytes.Buffer
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	code = report(&e, root.Execute())
	return o.String(), e.String(), code
}

func result(t *testing.T, name string, samples ...float64) (path string, r *perfreport.Result) {
	t.Helper()
	r = perfreport.New("test", "a test", []string{"dssn", "perf", "x"})
	r.Metrics = []perfreport.Metric{{Name: "throughput", Unit: perfreport.BitsPerSecond, Better: perfreport.Higher, Samples: samples}}
	path = filepath.Join(t.TempDir(), name)
	save(t, path, r)
	return path, r
}

func save(t *testing.T, path string, r *perfreport.Result) {
	t.Helper()
	if err := perfreport.WriteFile(path, r); err != nil {
		t.Fatal(err)
	}
}

func TestResultsAreShownComparedAndRefused(t *testing.T) {
	a, _ := result(t, "a.json", 1e9, 1.01e9, 0.99e9, 1e9)
	b, _ := result(t, "b.json", 1.2e9, 1.21e9, 1.19e9, 1.2e9)
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"format":"dssn-perf-result/1","kind":"x","command":["y"],"at":"2026-01-01T00:00:00Z","speed":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	html := filepath.Join(t.TempDir(), "a.html")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"perf", "report", a}, 0, "1 Gbit/s"},
		{[]string{"perf", "report", a, "-o", html}, 0, ""},
		{[]string{"perf", "compare", html, b}, 0, "better"},
		{[]string{"perf", "compare", a, b, "--html", "-"}, 0, "<!doctype html>"},
		{[]string{"perf", "compare", a, b, "--json"}, 0, `"judgement": "better"`},
		{[]string{"perf", "compare", a, b, "--confidence", "95"}, 2, "choose for example 0.95"},
		{[]string{"perf", "compare", a}, 2, "takes 2 arguments"},
		{[]string{"perf", "compare", a, bad}, 1, "speed"},
		{[]string{"perf", "report", filepath.Join(t.TempDir(), "none")}, 1, "name a file that a `dssn perf` command wrote"},
		{[]string{"perf", "report", a, "-o", "/no/such/place.html"}, 1, "choose another place"},
		{[]string{"perf", "verify", a}, 1, "nobody has signed it"},
		{[]string{"perf", "verify", a, "--key", "tester=zz"}, 2, "ROLE=KEY"},
		{[]string{"lab", "play", filepath.Join(t.TempDir(), "none")}, 2, "dssn-scenario/1"},
		{[]string{"lab", "up", "--wire", "loss=200%"}, 2, "not a share"},
		{[]string{"lab", "watch", "--interval", "1ms"}, 2, "50ms"},
	} {
		out, errs, code := run1(c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) || code != 0 && strings.Count(errs, "\n") != 1 {
			t.Errorf("dssn %s\nexit code %d, want %d with %q:\n%s%s", strings.Join(c.args, " "), code, c.code, c.want, out, errs)
		}
	}
}

func TestVerifySaysWhoSigned(t *testing.T) {
	path, r := result(t, "signed.json", 1)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	public := key.Public().(ed25519.PublicKey)
	node, err := content.MintNode(netip.MustParsePrefix("3fff:d55:1:2::/64"), public, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Sign(perfreport.Signer{Role: "tester", Name: "shanghai", Node: node.String(), Key: key}); err != nil {
		t.Fatal(err)
	}
	save(t, path, r)
	text := base64.StdEncoding.EncodeToString(public)
	if out, errs, code := run1("perf", "verify", path, "--key", "tester="+text); code != 0 || !strings.Contains(out, "shanghai "+node.String()+", whose identifier certifies the key") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	for _, c := range []struct{ flag, want string }{{"tester=" + other, "not with"}, {"responder=" + other, "the responder has not signed it"}} {
		if _, errs, code := run1("perf", "verify", path, "--key", c.flag); code != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("--key %s: exit code %d: %s", c.flag, code, errs)
		}
	}
	// A signature by a key that the named node's identifier does not certify.
	r.Signatures = nil
	if err := r.Sign(perfreport.Signer{Role: "tester", Node: node.String(), Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))}); err != nil {
		t.Fatal(err)
	}
	save(t, path, r)
	if _, errs, code := run1("perf", "verify", path); code != 1 || !strings.Contains(errs, "certifies another key") {
		t.Errorf("a borrowed name: exit code %d: %s", code, errs)
	}
	// One changed digit.
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(written, []byte(`"a test"`), []byte(`"b test"`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run1("perf", "verify", path); code != 1 || !strings.Contains(errs, "does not fit") {
		t.Errorf("a changed result: exit code %d: %s", code, errs)
	}
}

func TestAnAssuredReservationSetsTheBoundOfTheDelay(t *testing.T) {
	r := northbound.Reservation{Committed: 4 * dssn.Mbps, Ceiling: 8 * dssn.Mbps, Burst: 65536, DelayBound: 7 * time.Millisecond}
	for _, c := range []struct{ asked, want time.Duration }{{0, 7 * time.Millisecond}, {2 * time.Millisecond, 2 * time.Millisecond}} {
		s := y1564.Service{Size: 512, MaxDelay: c.asked}
		if sold(&s, &r); s.MaxDelay != c.want || s.Committed != 4e6 || s.Ceiling != 8e6 || s.Burst != 65536 {
			t.Errorf("asked for %v: %+v", c.asked, s)
		}
	}
	r.DelayBound = 0
	s := y1564.Service{Size: 512}
	if sold(&s, &r); s.MaxDelay != 0 {
		t.Errorf("an elastic reservation bounds the delay: %+v", s)
	}
}
