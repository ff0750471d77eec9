package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/internal/need"
	"dssn/perf/lab"
)

// program builds dssn once for the tests that run it in a lab.
func program(t *testing.T) string {
	t.Helper()
	gotool := need.Tool(t, "go")
	bin := filepath.Join(t.TempDir(), "dssn")
	cmd := exec.Command(gotool, "build", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build dssn: %v\n%s", err, out)
	}
	return bin
}

// twoHubs is the smallest network with a holder and a consumer.
const twoHubs = `{"format":"te-topology/1","name":"two","nodes":[{"name":"a"},{"name":"b"}],
"links":[{"src":0,"dst":1,"bps":5000000000,"latency_us":10},{"src":1,"dst":0,"bps":5000000000,"latency_us":10}]}`

// counts are what a refused command must leave as it was.
type counts struct {
	Datasets, Grants, Reservations, Institutions, Nodes int
}

// town is a lab with people in it.
type town struct {
	*testing.T
	lab *lab.Lab
}

// type1 types a command and returns what it did.
func (v town) type1(node string, args ...string) lab.Typed {
	v.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), 60*time.Second)
	defer cancel()
	r, err := v.lab.Type(ctx, node, args...)
	if err != nil {
		v.Fatal(err)
	}
	return r
}

// works types a command that must succeed and returns its output.
func (v town) works(node string, args ...string) string {
	v.Helper()
	r := v.type1(node, args...)
	if r.Code != 0 {
		v.Fatalf("%s# %s\nexit code %d: %s%s", node, strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return strings.TrimSpace(r.Out)
}

// refused types a command that must be refused by one line with a next step.
func (v town) refused(want string, node string, args ...string) {
	v.Helper()
	r := v.type1(node, args...)
	lines := strings.Split(strings.TrimSpace(r.Err), "\n")
	last := lines[len(lines)-1]
	v.Log(last)
	switch {
	case r.Code != exitError && r.Code != exitUsage:
		v.Errorf("%s# %s\nexit code %d, want 1 or 2: %s%s", node, strings.Join(args, " "), r.Code, r.Out, r.Err)
	case !strings.HasPrefix(last, "dssn: ") || !regexp.MustCompile(want).MatchString(last):
		v.Errorf("%s# %s\nsaid %q, want it to match %q", node, strings.Join(args, " "), r.Err, want)
	case len(lines) > 1 && !strings.HasPrefix(lines[0], "fetching") && !strings.HasPrefix(lines[0], "hashing"):
		v.Errorf("%s# %s\nsaid more than one line: %q", node, strings.Join(args, " "), r.Err)
	}
}

func (v town) counts() (c counts) {
	v.Helper()
	var s struct {
		Datasets, Grants, Reservations int
		Institutions, Nodes            []struct{}
	}
	mustJSON(v.T, v.works("controller", "dssn", "status", "--json"), &s)
	return counts{s.Datasets, s.Grants, s.Reservations, len(s.Institutions), len(s.Nodes)}
}

// TestBadInputGetsASentenceAndChangesNothing is the table of everything that a
// person can get wrong in a network that runs.
func TestBadInputGetsASentenceAndChangesNothing(t *testing.T) {
	need.Root(t)
	need.Long(t)
	l, err := lab.Boot(t.Context(), lab.BootOptions{ID: "bad", Topology: []byte(twoHubs), Holder: "a", Consumer: "b", MTU: 1500, Program: program(t)}, logWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	v := town{t, l}
	holder, consumer := l.Terminals()[0], l.Terminals()[1]
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "one.bin"), 3<<20)
	write(t, filepath.Join(dir, "data", "two.txt"), 100)
	url := lab.ControllerURL()
	spare := func(name string) []string {
		return []string{"dssn", "node", "join", url, "--state", filepath.Join(dir, name), "--join-only", "--link", "none*", "--token"}
	}

	var published struct {
		ID dssn.DataID `json:"id"`
	}
	mustJSON(t, v.works(holder, "dssn", "publish", filepath.Join(dir, "data"), "--name", "the name", "--grade", "2", "--category", "meteorology", "--json"), &published)
	id := published.ID.String()
	used := v.works("controller", "dssn", "token", "create", "--node", "spare", "--role", "terminal", "--institution", "a-institute")
	v.works(consumer, append(spare("spare"), used)...)
	expired := v.works("controller", "dssn", "token", "create", "--node", "late", "--role", "terminal", "--institution", "a-institute", "--ttl", "1s")
	expires := time.Now().Add(1100 * time.Millisecond)

	before := v.counts()
	for _, c := range []struct {
		name, want string
		node       string
		args       []string
	}{
		{"a token that was used", `already used.*ask the operator for a new one`, consumer, append(spare("again"), used)},
		{"a token that is none", `token`, consumer, append(spare("none"), "dssn1.what")},
		{"a backbone node that the topology lacks", `atlantis`, "controller", []string{"dssn", "token", "create", "--node", "atlantis", "--role", "backbone"}},
		{"an institution that is registered", `a-institute`, "controller", []string{"dssn", "institution", "add", "a-institute"}},
		{"a terminal of an unknown institution", `nobody`, "controller", []string{"dssn", "token", "create", "--node", "x", "--role", "terminal", "--institution", "nobody"}},
		{"a name of another registrant", `"the name" belongs to a-institute .*choose another with --name`, consumer, []string{"dssn", "publish", filepath.Join(dir, "data"), "--name", "the name", "--grade", "2", "--category", "meteorology"}},
		{"an empty folder", `holds no files: put at least one`, holder, []string{"dssn", "publish", t.TempDir(), "--name", "nothing", "--grade", "2", "--category", "meteorology"}},
		{"a fetch without a grant", `grant`, consumer, []string{"dssn", "get", published.ID.URI(), "-o", filepath.Join(dir, "out")}},
		{"a fetch of what nobody published", `not in the catalogue: .*dssn datasets`, consumer, []string{"dssn", "get", "dssn://[3fff:d55:1:1:2c21::1]/", "-o", filepath.Join(dir, "out")}},
		{"a grant by somebody else", `belongs to a-institute: only its owner`, consumer, []string{"dssn", "grant", id, "--to", "b-institute", "--until", "24h"}},
		{"a grant to nobody", `nobody`, holder, []string{"dssn", "grant", id, "--to", "nobody", "--until", "24h"}},
		{"bandwidth without a grant", `grant`, consumer, []string{"dssn", "reserve", "--to", id, "--committed", "1M"}},
		{"the bill of somebody else", `theirs: ask them`, consumer, []string{"dssn", "bill", "--institution", "a-institute"}},
		{"the receipt of what never was", `see .dssn usage`, consumer, []string{"dssn", "receipt", "get", strings.Repeat("0", 32)}},
		{"releasing what is not reserved", `see .dssn reservations`, consumer, []string{"dssn", "release", "r-0123456789abcdef"}},
	} {
		t.Run(c.name, func(t *testing.T) { town{t, l}.refused(c.want, c.node, c.args...) })
	}
	t.Run("an expired token", func(t *testing.T) {
		for time.Now().Before(expires) {
			time.Sleep(10 * time.Millisecond)
		}
		town{t, l}.refused(`expired at .*ask the operator for a new one`, consumer, append(spare("late"), expired)...)
	})
	t.Run("a dataset that changes while it is published", func(t *testing.T) {
		town{t, l}.refused(`changed while it was being published: .*publish again`, holder, "sh", "-c", `
			d=`+filepath.Join(dir, "changing")+`; mkdir -p $d; truncate -s 800M $d/big; : > $d/zz
			while :; do echo more >> $d/big; echo more >> $d/zz; done & writer=$!
			until [ -s $d/zz ]; do sleep 0.01; done # it writes
			dssn publish $d --name changing --grade 2 --category meteorology; code=$?
			kill $writer; exit $code`)
	})
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("a refused fetch left its folder behind")
	}
	if after := v.counts(); after != before {
		t.Errorf("refused commands changed the network: before %+v, after %+v", before, after)
	}

	// With the grant there is more to get wrong.
	v.works(holder, "dssn", "grant", id, "--to", "b-institute", "--until", "24h")
	before = v.counts()
	t.Run("bandwidth that nobody can carry", func(t *testing.T) {
		// The sentence names the link in the way and what would be admitted.
		town{t, l}.refused(`bottleneck is a>b; the best offer is 5G, so ask for --committed 5G or less`, consumer, "dssn", "reserve", "--to", id, "--committed", "6G")
	})
	t.Run("a full disk at the receiver", func(t *testing.T) {
		small := filepath.Join(dir, "small")
		if err := os.Mkdir(small, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
		out := filepath.Join(small, "out")
		v := town{t, l}
		v.refused(`disk at .* free some`, consumer, "dssn", "get", published.ID.URI(), "-o", out)
		if _, err := os.Stat(filepath.Join(out, "one.bin")); err == nil {
			t.Error("a file that is not whole has its name")
		}
		if err := unix.Mount("", small, "", unix.MS_REMOUNT, "size=32m"); err != nil {
			t.Fatal(err)
		}
		v.works(consumer, "dssn", "get", published.ID.URI(), "-o", out) // the same line again
		same(t, filepath.Join(dir, "data", "one.bin"), filepath.Join(out, "one.bin"))
	})
	if after := v.counts(); after != before {
		t.Errorf("refused commands changed the network: before %+v, after %+v", before, after)
	}
	t.Run("stopping a node, and again", func(t *testing.T) {
		v := town{t, l}
		if out := v.works(consumer, "dssn", "node", "stop"); !strings.Contains(out, "has ended") {
			t.Errorf("said %q", out)
		}
		if out := v.works(consumer, "dssn", "node", "stop"); !strings.Contains(out, "was not running") {
			t.Errorf("the second time it said %q", out)
		}
		v.refused("dssn node (join|run)", consumer, "dssn", "node", "status")
	})
}
