package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/controller"
)

const pairTopology = `{"format":"te-topology/1","name":"pair","nodes":[{"name":"a","sid":"11"},{"name":"b","sid":"12"}],"links":[
{"src":0,"dst":1,"bps":10000000000,"latency_us":1000},{"src":1,"dst":0,"bps":10000000000,"latency_us":1000}]}`

// typed runs a command line in this process and returns what it printed.
func typed(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

// runController runs a controller until the test ends and returns its state directory.
func runController(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	topology := filepath.Join(state, "topology.json")
	if err := os.WriteFile(topology, []byte(pairTopology), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- controller.Run(ctx, controller.Options{State: state, Listen: []string{"127.0.0.1:0"}, Topology: topology,
			Logger: slog.New(slog.DiscardHandler), Ready: func([]string) { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the controller ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the controller ended with %v", err)
		}
	})
	return state
}

func TestEveryCommandSpeaksJSON(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	state := runController(t)
	for _, line := range []string{
		"tenant add south", "institution list", "tenant list",
		"token create --node a --role backbone",
		"person add app --role member --institution south --scope qos-profiles:read",
		"person list", "node list", "dataset list", "datasets", "reservations", "freezes",
		"usage", "usage disputes", "status", "events", "person remove app", "version",
	} {
		out, err := typed(ctx, append(strings.Fields(line), "--json", "--state", state)...)
		if err != nil || !json.Valid([]byte(out)) {
			t.Errorf("dssn %s --json printed %q (%v)", line, out, err)
		}
		if strings.HasPrefix(line, "person add") || strings.HasPrefix(line, "tenant add") || strings.HasPrefix(line, "person remove") || strings.HasPrefix(line, "token") {
			continue // once only
		}
		if words, err := typed(ctx, append(strings.Fields(line), "--state", state)...); err != nil || words == out {
			t.Errorf("dssn %s printed %q (%v)", line, words, err)
		}
	}
	for _, line := range []string{"dataset show 3fff:d55:1:1:2c21:7047:e66c:e21a", "dataset resolve 3fff:d55:1:1:2c21:7047:e66c:e21a", "node remove nobody", "person remove nobody", "person add x --role king"} {
		if out, err := typed(ctx, append(strings.Fields(line), "--state", state)...); err == nil || out != "" {
			t.Errorf("dssn %s printed %q and did not fail", line, out)
		}
	}
}

// The words that an operator's scripts are written in.
func TestTheCommandsThatScriptsRelyOnAreThere(t *testing.T) {
	for _, line := range []string{
		"controller run", "node join", "node run", "node list", "node remove", "tenant add", "tenant list", "institution add", "token create",
		"person add", "dataset publish", "dataset list", "dataset show", "dataset resolve", "publish", "datasets", "grant", "revoke", "quote",
		"reserve", "reservations", "release", "usage", "bill", "evidence", "status", "events", "why", "completion bash", "completion zsh", "completion fish",
	} {
		root := rootCommand()
		root.InitDefaultCompletionCmd(strings.Fields(line)...)
		c, rest, err := root.Find(strings.Fields(line))
		if err != nil || len(rest) > 0 || c.Short == "" {
			t.Errorf("dssn %s is not there: %v %v", line, rest, err)
		}
	}
}

func TestTheShellCompletesNamesOfThingsThatThereAre(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	state := runController(t)
	t.Setenv("DSSN_STATE", state)
	for _, name := range []string{"south", "southern", "north"} {
		if _, err := typed(ctx, "tenant", "add", name); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string][]string{
		"token create --institution sou": {"south\t", "southern\t"},
		"reserve --class as":             {"assured\n"},
		"person ":                        {"add\t", "list\t", "remove\t"},
		"release ":                       {":4"},
	} {
		i := strings.LastIndexByte(line, ' ')
		out, err := typed(ctx, append(append([]string{"__complete"}, strings.Fields(line[:i])...), line[i+1:])...)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("completing %q gave %q, want %q", line, out, w)
			}
		}
		if strings.Contains(out, "north") {
			t.Errorf("completing %q gave %q", line, out)
		}
	}
}

// Lists longer than a page are read whole.
func TestListsAreReadWhole(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	state := runController(t)
	c := newClient(filepath.Join(state, controllerSocket))
	for i := range 12 {
		if err := c.call(ctx, "POST", "/v1/institutions", map[string]string{"name": fmt.Sprintf("i%02d", i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var list []struct{ Name string }
	if err := c.call(ctx, "GET", "/v1/institutions?limit=5", nil, &list); err != nil || len(list) != 13 || list[12].Name != "operator" {
		t.Errorf("%d institutions: %v (%v)", len(list), list, err)
	}
}

// events --follow prints what happens while it runs.
func TestEventsAreFollowed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	state := runController(t)
	r, w := io.Pipe()
	root := rootCommand()
	root.SetArgs([]string{"events", "--follow", "--json", "--state", state})
	root.SetOut(w)
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(following)
		w.Close()
		ended <- err
	}()
	d := json.NewDecoder(r)
	var e struct{ Kind, Detail string }
	seen := make(chan error, 1)
	go func() { seen <- d.Decode(&e) }()
	for i := 0; ; i++ { // until it follows, nothing is printed
		if _, err := typed(ctx, "tenant", "add", fmt.Sprintf("t%d", i), "--state", state); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-seen:
			if err != nil || e.Kind != "institution-added" {
				t.Fatalf("the event is %+v (%v)", e, err)
			}
			stop()
			go io.Copy(io.Discard, r)
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
			return
		default:
		}
	}
}
