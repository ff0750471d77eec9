package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

// watched is a `dssn lab` whose lines are counted as it writes them.
type watched struct {
	*exec.Cmd
	lines chan string // closed at the end of its output
	all   strings.Builder
}

func startLab(t *testing.T, bin string, args ...string) *watched {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"lab"}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	v := &watched{Cmd: cmd, lines: make(chan string)}
	go func() {
		defer close(v.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			v.lines <- s.Text()
		}
	}()
	return v
}

// until reads n lines, or all there are, and returns the last.
func (v *watched) until(n int) (last string) {
	for range n {
		line, more := <-v.lines
		if !more {
			break
		}
		last = line
		v.all.WriteString(line + "\n")
	}
	return last
}

// end reads what is left and waits.
func (v *watched) end() error {
	v.until(1 << 30)
	return v.Wait()
}

// running lists the processes of this machine's labs, by what they are.
func running(t *testing.T) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/run/dssn-lab/*/processes/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var p struct{ PID int }
		if text, err := os.ReadFile(f); err == nil && json.Unmarshal(text, &p) == nil && p.PID > 1 {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// small is a main job whose transfer takes about two seconds.
var small = []string{"run", "--size", "64MiB", "--committed", "100M", "--ceiling", "250M"}

// linesOfARun is about how many lines a small main job writes.
const linesOfARun = 90

// TestWhateverEndsALabNothingStays ends labs at random lines of their output, by
// every signal, and random programs inside them by SIGKILL. What can clean up
// does it by itself; after SIGKILL of the lab the next run does, or the next
// `dssn lab down`.
func TestWhateverEndsALabNothingStays(t *testing.T) {
	need.Root(t)
	need.Long(t)
	bin := program(t)
	before := belongings(t)
	unchanged := func(t *testing.T, after string) {
		t.Helper()
		if now := belongings(t); !slices.Equal(before, now) {
			t.Errorf("after %s there is:\n%s\nthere was:\n%s", after, strings.Join(now, "\n"), strings.Join(before, "\n"))
		}
	}
	down := func(t *testing.T) {
		t.Helper()
		if out, err := exec.Command(bin, "lab", "down").CombinedOutput(); err != nil {
			t.Errorf("lab down: %v: %s", err, out)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			for _, args := range [][]string{small, {"up"}} {
				lab := startLab(t, bin, args...)
				n := r.IntN(linesOfARun - 30)
				if args[0] == "up" {
					n = r.IntN(12)
				}
				last := lab.until(n)
				if n == 0 {
					time.Sleep(time.Millisecond) // it has to be a process that hears signals
				}
				lab.Process.Signal(signal)
				err := lab.end()
				if code := lab.ProcessState.ExitCode(); err == nil || code != exitError && n > 0 {
					t.Errorf("dssn lab %s, after line %d (%s): ended with %v, want exit code %d\n%s", args[0], n, last, err, exitError, lab.all.String())
				}
				unchanged(t, fmt.Sprintf("dssn lab %s, line %d (%s)", args[0], n, last))
			}
		})
	}
	t.Run("killed, and the next run", func(t *testing.T) {
		for range 4 {
			lab := startLab(t, bin, small...)
			last := lab.until(r.IntN(linesOfARun))
			lab.Process.Kill()
			lab.end()
			t.Logf("killed after: %s", last)
		}
		lab := startLab(t, bin, small...)
		if err := lab.end(); err != nil {
			t.Errorf("the next run: %v\n%s", err, lab.all.String())
		}
		unchanged(t, "the next run")
	})
	t.Run("killed, and lab down", func(t *testing.T) {
		for range 3 {
			for _, args := range [][]string{small, {"up"}} {
				lab := startLab(t, bin, args...)
				last := lab.until(r.IntN(20))
				lab.Process.Kill()
				lab.end()
				down(t)
				unchanged(t, "SIGKILL at: "+last)
			}
		}
	})
	t.Run("killed while it makes the network", func(t *testing.T) {
		for range 6 {
			lab := startLab(t, bin, small...)
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond) // no event to wait for: any moment will do
			lab.Process.Kill()
			lab.end()
			down(t)
			unchanged(t, "SIGKILL while the network was made")
		}
	})
	t.Run("any program inside is killed", func(t *testing.T) {
		for range 3 {
			lab := startLab(t, bin, small...)
			last := lab.until(12 + r.IntN(linesOfARun-12))
			if pids := running(t); len(pids) > 0 {
				syscall.Kill(pids[r.IntN(len(pids))], syscall.SIGKILL)
			}
			err := lab.end() // whether it can go on without that program depends on which it was
			t.Logf("a program killed after %q: the run ended with %v", last, err)
			if code := lab.ProcessState.ExitCode(); code != exitOK && (code != exitError || !strings.Contains(lab.all.String(), "\ndssn: ")) {
				t.Errorf("after the kill at %q: exit code %d, and its words were\n%s", last, code, lab.all.String())
			}
			unchanged(t, "the death of a program at: "+last)
		}
	})
}
