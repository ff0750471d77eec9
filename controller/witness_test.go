package controller_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"dssn/controller"
	"dssn/controller/evidence"
	"dssn/controller/northbound"
	"dssn/internal/need"
)

// peer returns a program of others that `make evidence-peers` has built.
func peer(t *testing.T, name string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join("..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	need.File(t, name+" (make evidence-peers)", p)
	return p
}

// stubWitness is a witness in a few lines: it cosigns what continues what it has
// seen. Its faults are set by tests.
type stubWitness struct {
	name string
	key  ed25519.PrivateKey
	log  string // verifier key

	mu     sync.Mutex
	size   int64
	root   tlog.Hash
	fault  string
	asked  int
	server *httptest.Server
}

func newStubWitness(t *testing.T, name, log string) *stubWitness {
	w := &stubWitness{name: name, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(len(name))}, 32)), log: log}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	return w
}

func (w *stubWitness) line() string {
	return fmt.Sprintf("witness %s %s %s\n", w.name, evidence.CosignerKey(w.name+".example/w", w.key.Public().(ed25519.PublicKey)), w.server.URL)
}

func (w *stubWitness) set(fault string) {
	w.mu.Lock()
	w.fault = fault
	w.mu.Unlock()
}

func (w *stubWitness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	body, _ := io.ReadAll(r.Body)
	head, cp, _ := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	var old int64
	fmt.Sscanf(lines[0], "old %d", &old)
	tree, _, err := evidence.OpenCheckpoint([]byte(cp), w.log)
	text, _, _ := strings.Cut(cp, "\n\n")
	switch {
	case w.fault == "away":
		rw.WriteHeader(http.StatusServiceUnavailable)
		return
	case w.fault == "unknown log":
		rw.WriteHeader(http.StatusNotFound)
		return
	case err != nil:
		rw.WriteHeader(http.StatusForbidden)
		return
	case old != w.size:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.size)
		return
	}
	var proof tlog.TreeProof
	for _, l := range lines[1:] {
		b, err := base64.StdEncoding.DecodeString(l)
		if err != nil || len(b) != 32 {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		proof = append(proof, tlog.Hash(b))
	}
	if old > 0 && tlog.CheckTree(proof, tree.N, tree.Hash, old, w.root) != nil {
		rw.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	w.size, w.root = tree.N, tree.Hash
	name, key := w.name+".example/w", w.key
	if w.fault == "another's key" {
		key = ed25519.NewKeyFromSeed(make([]byte, 32))
	}
	if w.fault == "nonsense" {
		fmt.Fprint(rw, "— x y")
		return
	}
	fmt.Fprint(rw, evidence.Cosign(name, key, text+"\n", time.Now().Unix()))
}

// published waits until the served checkpoint satisfies ok.
func (r *running) published(ctx context.Context, ok func(msg []byte) bool) []byte {
	r.t.Helper()
	for {
		msg, err := r.op.Checkpoint(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		if ok(msg) {
			return msg
		}
		select {
		case <-ctx.Done():
			r.t.Fatalf("the checkpoint stays\n%s", msg)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// logKey starts a controller to learn its log's key.
func logKey(t *testing.T, ctx context.Context, state string) string {
	t.Helper()
	r := start(t, state, "127.0.0.1:0")
	key := must(r.op.Status(ctx))(t).LogKey
	r.stop()
	return key
}

func institution(name string) northbound.InstitutionRequest {
	return northbound.InstitutionRequest{Name: name}
}

func writePolicy(t *testing.T, text string) (string, evidence.Policy) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, must(evidence.ReadPolicy([]byte(text)))(t)
}

func TestWhatIsPublishedHasAQuorumOfWitnesses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state := t.TempDir()
	key := logKey(t, ctx, state)
	a, b, c := newStubWitness(t, "a", key), newStubWitness(t, "bb", key), newStubWitness(t, "ccc", key)
	path, policy := writePolicy(t, "log "+key+"\n"+a.line()+b.line()+c.line()+"group most 2 a bb ccc\nquorum most\n")
	c.set("away")
	r := start(t, state, "127.0.0.1:0", func(o *controller.Options) { o.Witnesses = path })
	signed := func(size int64, names ...string) func([]byte) bool {
		return func(msg []byte) bool {
			tree, _, cosigned, err := policy.Open(msg)
			return err == nil && tree.N >= size && slices.Equal(cosigned, names)
		}
	}
	r.published(ctx, signed(0, "a", "bb"))
	for _, name := range []string{"one", "two", "three"} {
		must(r.op.AddInstitution(ctx, institution(name)))(t)
	}
	size := must(r.op.Status(ctx))(t).LogSize
	first := r.published(ctx, signed(size, "a", "bb"))

	// Without a quorum nothing new is published, and everything else goes on.
	for _, fault := range []string{"unknown log", "another's key", "nonsense", "away"} {
		b.set(fault)
		must(r.op.AddInstitution(ctx, institution("while-"+strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return -1
			}
			return r
		}, fault))))(t)
	}
	if msg := must(r.op.Checkpoint(ctx))(t); !signed(0, "a", "bb")(msg) {
		t.Errorf("published without a quorum:\n%s", msg)
	}
	until(ctx, t, func() bool {
		said := must(r.op.Metrics(ctx))(t)
		return bytes.Contains(said, []byte("dssn_controller_witnesses{cosigning=\"true\"} 1\n")) && bytes.Contains(said, []byte("dssn_controller_witnesses{cosigning=\"false\"} 2\n"))
	})
	r.stop()

	// A restart knows what was published; a witness that was away catches up.
	c.set("")
	r = start(t, state, "127.0.0.1:0", func(o *controller.Options) { o.Witnesses = path })
	second := r.published(ctx, signed(must(r.op.Status(ctx))(t).LogSize, "a", "ccc"))
	older := policy
	if _, err := evidence.VerifyLog(older, first, func(p string) ([]byte, error) {
		if p == "checkpoint" {
			return second, nil
		}
		return r.op.Tile(ctx, p)
	}, nil); err != nil {
		t.Error(err)
	}
}

func TestALogThatIsNotTheOnePublishedIsNotServed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state := t.TempDir()
	key := logKey(t, ctx, state)
	w := newStubWitness(t, "a", key)
	path, policy := writePolicy(t, "log "+key+"\n"+w.line()+"quorum a\n")
	r := start(t, state, "127.0.0.1:0", func(o *controller.Options) { o.Witnesses = path })
	must(r.op.AddInstitution(ctx, institution("one")))(t)
	r.published(ctx, func(msg []byte) bool { tree, _, _, err := policy.Open(msg); return err == nil && tree.N > 0 })
	r.stop()
	// Somebody rewrites the first leaf's hash in the database.
	sqlite := need.Tool(t, "sqlite3")
	if out, err := exec.Command(sqlite, filepath.Join(state, "controller.db"), "UPDATE log_hash SET hash = zeroblob(32) WHERE idx = 0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err := controller.Run(ctx, controller.Options{State: state, Listen: []string{"127.0.0.1:0"}, Witnesses: path})
	if err == nil || !strings.Contains(err.Error(), "restore the last backup") {
		t.Errorf("a log that was tampered with on disk is served: %v", err)
	}
}

func TestAStockWitnessCosignsOurLogAndAStockCheckerAcceptsIt(t *testing.T) {
	litewitness, fsck := peer(t, "litewitness"), peer(t, "fsck")
	agent, add, keygen, sqlite := need.Tool(t, "ssh-agent"), need.Tool(t, "ssh-add"), need.Tool(t, "ssh-keygen"), need.Tool(t, "sqlite3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state, dir := t.TempDir(), t.TempDir()
	key := logKey(t, ctx, state)
	origin, _, _ := strings.Cut(key, "+")

	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	// Its key lives in an SSH agent, its logs in a database.
	socket := filepath.Join(dir, "agent")
	keeper := exec.CommandContext(ctx, agent, "-D", "-a", socket)
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { keeper.Process.Kill(); keeper.Wait() }()
	private := filepath.Join(dir, "key")
	run(nil, keygen, "-q", "-t", "ed25519", "-N", "", "-f", private)
	until(ctx, t, func() bool { _, err := os.Stat(socket); return err == nil })
	run([]string{"SSH_AUTH_SOCK=" + socket}, add, private)
	fingerprint := strings.Fields(run(nil, keygen, "-l", "-f", private))[1]
	db := filepath.Join(dir, "witness.db")
	empty := base64.StdEncoding.EncodeToString(sha256.New().Sum(nil))
	run(nil, sqlite, db, "CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);"+
		"CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));"+
		fmt.Sprintf("INSERT INTO log VALUES ('%s', 0, '%s'); INSERT INTO key VALUES ('%s', '%s');", origin, empty, origin, key))
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(ctx, litewitness, "-name", "stock.example/witness", "-db", db, "-ssh-agent", socket, "-key", fingerprint, "-listen", address)
	said := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	vkey := regexp.MustCompile(`vkey=("?)(stock\.example/witness\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)`)
	until(ctx, t, func() bool { return vkey.MatchString(said.String()) })
	theirs := vkey.FindStringSubmatch(said.String())[2]

	path, policy := writePolicy(t, "log "+key+"\nwitness stock "+theirs+" http://"+address+"\nquorum stock\n")
	r := start(t, state, "127.0.0.1:0", func(o *controller.Options) { o.Witnesses = path })
	for i := range 300 { // past a full tile
		must(r.op.AddInstitution(ctx, institution(fmt.Sprintf("inst-%d", i))))(t)
	}
	size := must(r.op.Status(ctx))(t).LogSize
	r.published(ctx, func(msg []byte) bool { tree, _, _, err := policy.Open(msg); return err == nil && tree.N >= size })

	copyDir := filepath.Join(dir, "log")
	got := must(evidence.Mirror(policy, func(p string) ([]byte, error) {
		if p == "checkpoint" {
			return r.op.Checkpoint(ctx)
		}
		return r.op.Tile(ctx, p)
	}, copyDir))(t)
	if got.Size < size || !slices.Equal(got.Cosigned, []string{"stock"}) {
		t.Errorf("copied %+v", got)
	}
	must(evidence.VerifyLog(policy, nil, evidence.Dir(copyDir), nil))(t)
	public := filepath.Join(dir, "log.pub")
	if err := os.WriteFile(public, []byte(key), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func() (string, error) {
		out, err := exec.CommandContext(ctx, fsck, "-storage_url", "file://"+copyDir+"/", "-public_key", public, "-N", "4", "-ui=false", "-logtostderr").CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil || strings.Contains(out, "fsck failed") {
		t.Errorf("fsck does not accept our log: %v\n%s", err, out)
	}
	// And it would have noticed: one byte of an entry is changed.
	bundle := filepath.Join(copyDir, "tile", "entries", "000")
	b := must(os.ReadFile(bundle))(t)
	b[10] ^= 1
	if err := os.WriteFile(bundle, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil && !strings.Contains(out, "fsck failed") {
		t.Errorf("fsck accepts anything:\n%s", out)
	}
	if _, err := evidence.VerifyLog(policy, nil, evidence.Dir(copyDir), nil); err == nil {
		t.Error("a copy with another entry is taken for the log")
	}
}

// until polls, for programs that do not say when they are ready.
func until(ctx context.Context, t *testing.T, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not come up")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lockedBuffer is written by a program while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
