package controller_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dssn/controller"
	"dssn/controller/evidence"
	"dssn/controller/northbound"
)

// childState tells the test binary to be a controller and nothing else.
const childState = "DSSN_TEST_CONTROLLER_STATE"

func TestMain(m *testing.M) {
	if state := os.Getenv(childState); state != "" {
		err := controller.Run(context.Background(), controller.Options{State: state, Listen: []string{"[::1]:0"},
			Topology: filepath.Join(state, "topology.json"), Logger: slog.New(slog.DiscardHandler),
			Ready: func([]string) { fmt.Println("ready") }})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// spawn starts a controller process and waits until it answers.
func spawn(t *testing.T, state string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childState+"="+state)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		c.Process.Kill()
		c.Wait()
		t.Fatalf("the controller said %q (%v)", line, err)
	}
	go io.Copy(io.Discard, out)
	return c
}

// A controller is killed again and again at moments that it cannot know. What
// it had acknowledged must be there afterwards, once, and the evidence log must
// be consistent.
func TestKilledAtAnyMomentNothingAcknowledgedIsLost(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "topology.json"), []byte(square), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(state, controller.SocketName)
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	acknowledged := map[string]string{} // institution to prefix
	var size int64
	var key string
	n := 0
	for round := range rounds {
		p := spawn(t, state)
		c := northbound.NewUnixClient(socket)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		list, err := c.Institutions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		taken := map[string]string{}
		for _, i := range list {
			have[i.Name] = i.Registrant.String()
			if o := taken[i.Registrant.String()]; o != "" {
				t.Fatalf("%s and %s have the same prefix %s", o, i.Name, i.Registrant)
			}
			taken[i.Registrant.String()] = i.Name
		}
		for name, prefix := range acknowledged {
			if have[name] != prefix {
				t.Fatalf("round %d (seed %d): %s was acknowledged with %s and is now %q", round, seed, name, prefix, have[name])
			}
		}
		st, err := c.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if st.LogSize < size {
			t.Fatalf("the evidence log shrank from %d to %d", size, st.LogSize)
		}
		cp, err := c.Checkpoint(ctx)
		if err != nil {
			t.Fatal(err)
		}
		tree, _, err := evidence.OpenCheckpoint(cp, st.LogKey)
		if err != nil || tree.N != st.LogSize || key != "" && key != st.LogKey {
			t.Fatalf("checkpoint of %d leaves, status says %d (%v)", tree.N, st.LogSize, err)
		}
		size, key = st.LogSize, st.LogKey
		kill := time.AfterFunc(time.Duration(random.IntN(60_000))*time.Microsecond, func() { p.Process.Signal(syscall.SIGKILL) })
		for {
			name := fmt.Sprintf("i%d", n)
			n++
			i, err := c.AddInstitution(ctx, northbound.InstitutionRequest{Name: name})
			if err != nil {
				break // killed
			}
			acknowledged[name] = i.Registrant.String()
		}
		kill.Stop()
		p.Process.Kill()
		p.Wait()
		c.Close()
		cancel()
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	t.Logf("%d acknowledged over %d kills", len(acknowledged), rounds)
}

func TestTwoControllersCannotShareAState(t *testing.T) {
	r := start(t, t.TempDir(), "[::1]:0")
	err := controller.Run(context.Background(), controller.Options{State: r.state, Listen: []string{"[::1]:0"}, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "another controller is using it") {
		t.Errorf("got %v", err)
	}
}

// A client whose controller is killed under its requests says the one that was
// not answered again, with its key, and each is done once: without the key half
// of them would be refused, for the institution would be there already.
func TestWhatIsSaidAgainAfterAKillIsDoneOnce(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "topology.json"), []byte(square), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(state, controller.SocketName)
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	answered, again := 0, 0
	for range rounds {
		p := spawn(t, state)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		c := &caller{t: t, http: &http.Client{Transport: transport}, url: "http://dssn"}
		kill := time.AfterFunc(time.Duration(random.IntN(60_000))*time.Microsecond, func() { p.Process.Signal(syscall.SIGKILL) })
		for {
			name := fmt.Sprintf("i%d", answered)
			r, err := http.NewRequestWithContext(ctx, "POST", c.url+"/v1/institutions", strings.NewReader(`{"name":"`+name+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Idempotency-Key", "key of "+name)
			w, err := c.http.Do(r)
			if err != nil {
				again++
				break // killed: said again in the next round
			}
			b, err := io.ReadAll(w.Body)
			w.Body.Close()
			if err != nil {
				again++
				break
			}
			if w.StatusCode != http.StatusOK || !strings.Contains(string(b), `"`+name+`"`) {
				t.Fatalf("seed %d: %s was answered %d %s", seed, name, w.StatusCode, b)
			}
			answered++
		}
		kill.Stop()
		p.Process.Kill()
		p.Wait()
		transport.CloseIdleConnections()
	}
	p := spawn(t, state)
	defer func() { p.Process.Kill(); p.Wait() }()
	op := northbound.NewUnixClient(socket)
	defer op.Close()
	list, err := op.Institutions(ctx)
	if n := len(list) - 1; err != nil || n != answered && n != answered+1 { // the operator's own, and one whose answer was lost at last
		t.Errorf("seed %d: %d institutions after %d answers (%v)", seed, n, answered, err)
	}
	t.Logf("%d answered, %d said again", answered, again)
}
