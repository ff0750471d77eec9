package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/lab"
)

// belongings are what a machine has that a lab could leave behind. The tests
// run in namespaces of their own, so this is everything there is.
func belongings(t *testing.T) (out []string) {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		out = append(out, "link "+l.Name)
	}
	routes, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(routes)) {
		f := strings.Fields(line)
		out = append(out, "route "+f[0]+"/"+f[1]+" "+f[len(f)-1])
	}
	for _, dir := range []string{"/run/netns", "/run/dssn-lab", "/run", os.TempDir()} {
		list, _ := os.ReadDir(dir)
		for _, e := range list {
			if p := filepath.Join(dir, e.Name()); p != "/run/netns" {
				out = append(out, "file "+p)
			}
		}
	}
	slices.Sort(out)
	return out
}

func runLab(t *testing.T, bin string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"lab", "run", "--size", "96MiB", "--committed", "100M", "--ceiling", "250M"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dssn %s wrote:\n%s", strings.Join(cmd.Args[1:], " "), out.String())
		}
	})
	return cmd
}

func TestMainJobTwiceInARowLeavesTheMachineAsItWas(t *testing.T) {
	need.Root(t)
	need.Tool(t, "curl")
	need.Long(t)
	bin, file := program(t), filepath.Join(t.TempDir(), "report.json")
	before := belongings(t)
	for range 2 {
		if err := runLab(t, bin, "--json", file).Run(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := lab.ReadReport(text) // and its laws
		if err != nil {
			t.Fatal(err)
		}
		if r.Lab.Topology != "eight-hubs" || r.Join.Nodes != 10 || r.Cut.Link == "" {
			t.Errorf("the run was of %q with %d nodes, and cut %q", r.Lab.Topology, r.Join.Nodes, r.Cut.Link)
		}
		documented(t, text)
		if after := belongings(t); !slices.Equal(before, after) {
			t.Fatalf("left behind:\n%s\nthere was:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
	}
}

// documented looks for every key of the report in its description.
func documented(t *testing.T, report []byte) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/lab-run.md")
	if err != nil {
		t.Fatal(err)
	}
	var look func(at string, v any)
	look = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, w := range v {
				if !bytes.Contains(doc, []byte("`"+k+"`")) && !bytes.Contains(doc, []byte("`"+k+"[]`")) {
					t.Errorf("docs/lab-run.md does not explain %s.%s", at, k)
				}
				look(at+"."+k, w)
			}
		case []any:
			for _, w := range v {
				look(at+"[]", w)
			}
		}
	}
	var v any
	if err := json.Unmarshal(report, &v); err != nil {
		t.Fatal(err)
	}
	look("report", v)
}

func TestWhateverEndsTheMainJobLeavesNothingAfterTheNextDown(t *testing.T) {
	need.Root(t)
	need.Long(t)
	bin := program(t)
	before := belongings(t)
	for _, c := range []struct {
		signal syscall.Signal
		clean  bool // by itself
	}{{syscall.SIGINT, true}, {syscall.SIGTERM, true}, {syscall.SIGKILL, false}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			cmd := runLab(t, bin)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for labs, err := lab.List(); err != nil || len(labs) == 0 || labs[0].Processes < 8; labs, err = lab.List() {
				if cmd.ProcessState != nil {
					t.Fatal("it ended before the signal")
				}
				time.Sleep(20 * time.Millisecond)
			}
			cmd.Process.Signal(c.signal)
			if err := cmd.Wait(); err == nil {
				t.Fatal("it ended as if nothing had happened")
			}
			if c.clean {
				if code := cmd.ProcessState.ExitCode(); code != exitError {
					t.Errorf("exit code %d, want %d", code, exitError)
				}
			} else if out, err := exec.Command(bin, "lab", "down").CombinedOutput(); err != nil {
				t.Errorf("lab down: %v: %s", err, out)
			}
			if after := belongings(t); !slices.Equal(before, after) {
				t.Errorf("left behind:\n%s\nthere was:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
		})
	}
}
