package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
	"dssn/internal/need"
)

func TestRefusedGetPrintsTheReasonAndLeavesNothing(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"a": {1}})
	h := serve(t, o)
	l := h.local(t)
	l.err = errors.New("no grant lets guizhou reach it: ask the owner for one")
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Get(context.Background(), h.options(t, l, out)); err != l.err {
		t.Errorf("resolve refused: %v", err)
	}
	l.err = nil
	why := "the grant ended at noon: ask the owner for another"
	h.refuse.Store(&why)
	opts := h.options(t, l, out)
	opts.wait = time.Millisecond
	_, err := Get(context.Background(), opts)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusForbidden || err.Error() != why {
		t.Errorf("holder refused: %v", err)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("a refused get made a folder")
	}
	// A holder that has not heard of the grant yet is asked again.
	opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		time.AfterFunc(5*time.Millisecond, func() { h.refuse.Store(nil) })
		return h.dial(ctx, network, address)
	}
	if _, err := Get(context.Background(), opts); err != nil {
		t.Error(err)
	}
}

func TestAnyCorruptedGroupIsNamed(t *testing.T) {
	data := pattern(3, 40*content.GroupBytes+99)
	o, _ := publish(t, map[string][]byte{"f": data})
	path := filepath.Join(o.Dir, "f")
	for g := range 41 {
		bad := bytes.Clone(data)
		bad[g*content.GroupBytes+(g*997)%99] ^= 4
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		h := serve(t, o)
		out := t.TempDir()
		_, err := Get(context.Background(), h.options(t, h.local(t), out))
		var corrupt *content.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Path != "f" || corrupt.Offset != int64(g)*content.GroupBytes {
			t.Fatalf("group %d: %v", g, err)
		}
		if _, err := os.Lstat(filepath.Join(out, "f")); err == nil {
			t.Errorf("group %d: the corrupt file got its name", g)
		}
	}
	// Repaired, the same get goes on.
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	h := serve(t, o)
	out := t.TempDir()
	if _, err := Get(context.Background(), h.options(t, h.local(t), out)); err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, out)
}

func TestChangedSizeIsRefusedByTheHolder(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"f": pattern(1, 100_000)})
	h := serve(t, o)
	if err := os.Truncate(filepath.Join(o.Dir, "f"), 5); err != nil {
		t.Fatal(err)
	}
	_, err := Get(context.Background(), h.options(t, h.local(t), t.TempDir()))
	if err == nil || !strings.Contains(err.Error(), `"f" is no longer what was published`) {
		t.Error(err)
	}
}

func TestForgedManifestOutboardAndRecordAreRefused(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"f": pattern(1, 100_000)})
	h := serve(t, o)
	for what, forge := range map[string]func(path string, b []byte){
		"manifest":    func(p string, b []byte) { flipIf(p == pathManifest, b, 20) },
		"outboard":    func(p string, b []byte) { flipIf(p == pathOutboard+"f", b, 70) },
		"head's root": func(p string, b []byte) { flipIf(p == pathOutboard+"f", b, 40) },
	} {
		instead := func(w http.ResponseWriter, r *http.Request, real http.Handler) {
			rec := &recorder{ResponseWriter: w}
			real.ServeHTTP(rec, r)
			forge(r.URL.Path, rec.body)
			w.WriteHeader(rec.status)
			w.Write(rec.body)
		}
		h.instead.Store(&instead)
		out := t.TempDir()
		if _, err := Get(context.Background(), h.options(t, h.local(t), out)); err == nil {
			t.Errorf("%s forged: accepted", what)
		}
		if _, err := os.Lstat(filepath.Join(out, "f")); err == nil {
			t.Errorf("%s forged: the file got its name", what)
		}
	}
	h.instead.Store(nil)
	l := h.local(t)
	l.res.Record.Name = "another"
	if _, err := Get(context.Background(), h.options(t, l, t.TempDir())); err == nil {
		t.Error("a forged record was accepted")
	}
}

func flipIf(cond bool, b []byte, i int) {
	if cond && i < len(b) {
		b[i] ^= 1
	}
}

type recorder struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (r *recorder) WriteHeader(s int) { r.status = s }
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = 200
	}
	r.body = append(r.body, b...)
	return len(b), nil
}

// cutter is a listener's conn that dies after a number of bytes.
type cutter struct {
	net.Conn
	left int64
}

func (c *cutter) Read(b []byte) (int, error) {
	if c.left <= 0 {
		c.Conn.Close()
		return 0, syscall.ECONNRESET
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// The law: whatever is cut, repeated or restarted at either end, when a get is
// done both ends count the same bytes, each once.
func TestBothEndsCountTheSameWhateverIsCut(t *testing.T) {
	data := pattern(5, 3<<20+5)
	o, r := publish(t, map[string][]byte{"a": data, "b/c": data[:700_000], "d": data[:10], "e": nil})
	rapid.Check(t, func(rt *rapid.T) {
		h := serve(t, o)
		l := h.local(t)
		out, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		cuts := rapid.SliceOfN(rapid.Int64Range(1, 2<<20), 0, 12).Draw(rt, "connections cut after")
		stops := rapid.SliceOfN(rapid.Int64Range(0, 4<<20), 0, 3).Draw(rt, "gets stopped after")
		restarts := rapid.Bool().Draw(rt, "holder restarts")
		remembers := rapid.Bool().Draw(rt, "holder remembers")
		var next atomic.Int64
		opts := h.options(t, l, out)
		opts.wait = time.Millisecond
		opts.Streams = rapid.IntRange(1, 5).Draw(rt, "streams")
		opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := h.dial(ctx, network, address)
			if i := int(next.Add(1)) - 1; err == nil && i < len(cuts) {
				return &cutter{c, cuts[i]}, nil
			}
			return c, err
		}
		for _, after := range stops {
			ctx, cancel := context.WithCancel(context.Background())
			stopped := opts
			inner := opts.Dial
			var seen atomic.Int64
			stopped.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := inner(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &stopper{c, &seen, after, cancel}, nil
			}
			_, err := Get(ctx, stopped)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				rt.Fatalf("stopped get: %v", err)
			}
			if restarts {
				// The new process knows what the old one had told its node.
				b, err := json.Marshal(h.Deliveries())
				if err != nil {
					rt.Fatal(err)
				}
				h.Close()
				h2 := serve(t, o)
				if remembers {
					var list []Served
					if err := json.Unmarshal(b, &list); err != nil {
						rt.Fatal(err)
					}
					h2.Restore(list)
				}
				h = h2
			}
		}
		if l.latest.Done {
			equalEnds(t, h, l, r.Length)
			return
		}
		if _, err := Get(context.Background(), opts); err != nil {
			rt.Fatal(err)
		}
		sameTree(t, o.Dir, out)
		equalEnds(t, h, l, r.Length)
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// The holder's process dies in the middle of a get, knows nothing when it
// starts again, and still both ends agree.
func TestHolderThatForgetsInTheMiddle(t *testing.T) {
	o, r := publish(t, map[string][]byte{"a": pattern(5, 9<<20)})
	h := serve(t, o)
	l := h.local(t)
	opts := h.options(t, l, t.TempDir())
	opts.Streams, opts.wait = 1, time.Millisecond
	var seen atomic.Int64
	opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := h.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stopper{c, &seen, 5 << 20, func() {
			if seen.CompareAndSwap(seen.Load(), -1<<40) {
				old := h.Server
				h.Server, h.addr = serveAgain(t, o)
				old.Close()
				c.Close() // what the kernel still holds is lost too
			}
		}}, nil
	}
	res, err := Get(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if res.Retries == 0 {
		t.Error("nothing was cut")
	}
	equalEnds(t, h, l, r.Length)
}

// serveAgain starts another server that knows nothing.
func serveAgain(t *testing.T, o Offering) (*Server, string) {
	again := serve(t, o)
	return again.Server, again.addr
}

// stopper cancels the get after so many bytes over all connections.
type stopper struct {
	net.Conn
	seen   *atomic.Int64
	after  int64
	cancel func()
}

func (c *stopper) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.seen.Add(int64(n)) > c.after {
		c.cancel()
	}
	return n, err
}

func TestAcknowledgementsAreCumulativeAndBelieved(t *testing.T) {
	var l ledger
	now := time.Unix(1e9, 0)
	id := strings.Repeat("ab", 16)
	src, other := netip.MustParseAddr("3fff::1"), netip.MustParseAddr("3fff::2")
	data := dssn.DataIDFrom16([16]byte{0x3f, 0xff, 1})
	if err := l.open(id, src, data, Terms{}, 0, now); err != nil {
		t.Fatal(err)
	}
	l.serve(id, 0, span{0, 100})
	l.serve(id, 0, span{50, 100}) // again: a retry
	l.serve(id, 1, span{0, 10})
	for _, step := range []struct {
		source netip.Addr
		count  uint64
		done   bool
		want   uint64
		fails  bool
	}{
		{src, 40, false, 40, false},
		{src, 40, false, 40, false}, // repeated
		{src, 30, false, 40, false}, // late
		{src, 111, false, 40, true}, // more than was served
		{other, 50, false, 0, true}, // somebody else
		{src, 110, true, 110, false},
		{src, 90, false, 110, false}, // late, after the end
	} {
		got, err := l.acknowledge(id, step.source, data, Terms{}, step.count, step.done, 1000, now)
		if got != step.want || (err != nil) != step.fails {
			t.Errorf("%+v: %d, %v", step, got, err)
		}
	}
	list := l.list()
	if len(list) != 1 || list[0].ContentBytes != 110 || list[0].ServedBytes != 110 || !list[0].Done {
		t.Errorf("%+v", list)
	}
	if err := l.open(id, other, data, Terms{}, 0, now); err == nil {
		t.Error("another source took the transfer over")
	}
	if err := l.open("../../etc", src, data, Terms{}, 0, now); err == nil {
		t.Error("a strange identifier was accepted")
	}
	l.forget(id)
	if len(l.list()) != 0 {
		t.Error("a finished transfer was not forgotten")
	}
	for i := range maxOpenTransfers {
		if err := l.open(fmt.Sprintf("%032x", i), src, data, Terms{}, 0, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.open(fmt.Sprintf("%032x", 1<<20), src, data, Terms{}, 0, now); err == nil {
		t.Error("one source began any number of transfers")
	}
	if err := l.open(fmt.Sprintf("%032x", 1<<20), other, data, Terms{}, 0, now); err != nil {
		t.Errorf("and so another could not begin one: %v", err)
	}
	if err := l.open(fmt.Sprintf("%032x", 1<<20+1), src, data, Terms{}, 0, now.Add(abandonedAfter)); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// The receiver hears that its transfer is done only when the holder's books
// are safe.
func TestEndOfATransferIsKeptBeforeItIsAnswered(t *testing.T) {
	o, r := publish(t, map[string][]byte{"f": pattern(1, 100_000)})
	h := serve(t, o)
	var tries atomic.Int64
	var kept []Served
	h.Server.opts.Keep = func() error {
		if tries.Add(1) == 1 {
			return syscall.ENOSPC
		}
		kept = h.Deliveries()
		return nil
	}
	l := h.local(t)
	opts := h.options(t, l, t.TempDir())
	opts.wait = time.Millisecond
	if _, err := Get(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	if tries.Load() != 2 || len(kept) != 1 || !kept[0].Done || kept[0].ContentBytes != uint64(r.Length) {
		t.Errorf("after %d tries kept %+v", tries.Load(), kept)
	}
	equalEnds(t, h, l, r.Length)
	// What was kept is what the next process knows.
	again := NewServer(ServerOptions{})
	again.Restore(append(kept, Served{Delivery: southbound.Delivery{Transfer: newTransferID()}, OneSided: true}))
	for _, d := range again.Deliveries() {
		if !d.Done {
			t.Errorf("%+v has no connection that could end it", d)
		}
	}
}

func TestGetNeverOverwritesWhatIsThere(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"a": pattern(1, 100_000), "b": pattern(2, 50)})
	h := serve(t, o)
	for _, name := range []string{"a", "a.part"} {
		out := t.TempDir()
		if err := os.WriteFile(filepath.Join(out, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Get(context.Background(), h.options(t, h.local(t), out)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(filepath.Join(out, name)); string(b) != "mine" {
			t.Errorf("%s was written over", name)
		}
	}
	// A link that leads out of the folder is not followed.
	out, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(out, "sub")); err != nil {
		t.Fatal(err)
	}
	o2, _ := publish(t, map[string][]byte{"sub/x": {1}})
	h2 := serve(t, o2)
	if _, err := Get(context.Background(), h2.options(t, h2.local(t), out)); err == nil {
		t.Error("a get wrote through a link out of its folder")
	}
	if names, _ := os.ReadDir(outside); len(names) != 0 {
		t.Errorf("outside: %v", names)
	}
}

func TestTwoGetsDoNotShareAFolder(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"a": {1}})
	h := serve(t, o)
	out := t.TempDir()
	first, err := openOutput(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Get(context.Background(), h.options(t, h.local(t), out)); err == nil || !strings.Contains(err.Error(), "another get") {
		t.Error(err)
	}
	first.close()
	if _, err := Get(context.Background(), h.options(t, h.local(t), out)); err != nil {
		t.Error(err)
	}
}

func TestFullDiskIsOneSentenceAndLeavesNothing(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		need.Kernel(t, "mounting tmpfs", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	o, _ := publish(t, map[string][]byte{"a": pattern(1, 600_000), "b": pattern(2, 600_000)})
	h := serve(t, o)
	out := filepath.Join(dir, "out")
	_, err := Get(context.Background(), h.options(t, h.local(t), out))
	if err == nil || !strings.Contains(err.Error(), "needs 1.144 MiB and the disk at "+out+" has") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if names, _ := os.ReadDir(out); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}
	if len(h.Deliveries()) != 0 {
		t.Error("something was fetched")
	}
}

// A real process is killed with SIGKILL and another goes on.
func TestGetGoesOnAfterSIGKILL(t *testing.T) {
	if addr := os.Getenv("DSSN_TEST_GET"); addr != "" {
		getAsChild(addr)
		return
	}
	data := pattern(9, 48<<20)
	o, r := publish(t, map[string][]byte{"big": data[:40<<20], "more": data[40<<20:]})
	h := serve(t, o)
	h.terms.Rate = 400 * dssn.Mbps // or it is over before it can be killed
	reports := &local{res: h.local(t).res}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	node := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			json.NewEncoder(w).Encode(reports.res)
			return
		}
		var d southbound.Delivery
		if err := json.NewDecoder(r.Body).Decode(&d); err == nil {
			reports.Report(r.Context(), d)
		}
	})}
	go node.Serve(l)
	t.Cleanup(func() { node.Close() })
	out := t.TempDir()
	child := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run", "^TestGetGoesOnAfterSIGKILL$")
		c.Env = append(os.Environ(), "DSSN_TEST_GET="+h.addr, "DSSN_TEST_NODE="+l.Addr().String(), "DSSN_TEST_OUT="+out, "DSSN_TEST_URI="+r.ID.URI())
		return c
	}
	kills := 0
	for range 3 {
		c := child()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// Wait until it has verified something more than at its start.
		before := journalled(out, r.ID)
		deadline := time.Now().Add(20 * time.Second)
		for journalled(out, r.ID) < before+4 && time.Now().Before(deadline) && !exists(filepath.Join(out, "more")) {
			time.Sleep(time.Millisecond)
		}
		c.Process.Kill()
		if c.Wait() != nil {
			kills++
		}
	}
	if journalled(out, r.ID) == 0 || kills == 0 {
		t.Fatal("no child lived long enough to be killed")
	}
	if b, err := child().CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	sameTree(t, o.Dir, out)
	equalEnds(t, h, reports, r.Length)
	d := h.Deliveries()[0]
	if d.ServedBytes != uint64(r.Length) {
		t.Errorf("served %d distinct bytes of %d", d.ServedBytes, r.Length)
	}
}

func exists(p string) bool { _, err := os.Lstat(p); return err == nil }

// journalled returns how many records the journal has.
func journalled(out string, id dssn.DataID) int {
	fi, err := os.Stat(filepath.Join(out, journalName(id)))
	if err != nil {
		return 0
	}
	return int(fi.Size()-journalHeadSize) / journalRecordSize
}

// getAsChild is the other process: its node is an HTTP server of its parent.
func getAsChild(addr string) {
	node := "http://" + os.Getenv("DSSN_TEST_NODE") + "/"
	h := &holder{addr: addr}
	_, err := Get(context.Background(), Options{URI: os.Getenv("DSSN_TEST_URI"), Out: os.Getenv("DSSN_TEST_OUT"),
		Local: remoteNode(node), Dial: h.dial})
	if err != nil {
		slog.Error("get", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type remoteNode string

func (n remoteNode) Resolve(context.Context, dssn.DataID) (r Resolution, err error) {
	res, err := http.Get(string(n))
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	return r, json.NewDecoder(res.Body).Decode(&r)
}

func (n remoteNode) Report(_ context.Context, d southbound.Delivery) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	res, err := http.Post(string(n), "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	io.Copy(io.Discard, res.Body)
	return res.Body.Close()
}

func (n remoteNode) Path(context.Context, dssn.NodeID) (string, error) { return "", nil }

func TestRangesFromAnEarlierBootAreCheckedBeforeTheyAreBelieved(t *testing.T) {
	data := pattern(8, 1<<20)
	o, r := publish(t, map[string][]byte{"f": data})
	h := serve(t, o)
	l := h.local(t)
	out := t.TempDir()
	part := bytes.Clone(data)
	part[5*content.GroupBytes] ^= 1 // lost when the power went
	write := func(name string, b []byte) {
		t.Helper()
		p := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("f.part", part)
	head := journalHead{data: r.ID, root: r.Root, transfer: [16]byte{1}, boot: [16]byte{9}, holder: testNode(t, 1)}
	write(journalName(r.ID), journalRecord{0, kindHeld, span{0, 512 << 10}}.append(head.append(nil)))
	res, err := Get(context.Background(), h.options(t, l, out))
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, out)
	if res.Resumed != 512<<10-content.GroupBytes || res.Fetched != 512<<10+content.GroupBytes || res.ContentBytes != 1<<20 {
		t.Errorf("%+v", res)
	}
}

func TestGetGivesUpWhenNobodyAnswers(t *testing.T) {
	o, _ := publish(t, map[string][]byte{"f": {1}})
	h := serve(t, o)
	opts := h.options(t, h.local(t), t.TempDir())
	opts.Patience = 100 * time.Millisecond
	var tries atomic.Int64
	opts.Dial = func(context.Context, string, string) (net.Conn, error) {
		tries.Add(1)
		return nil, syscall.ENETUNREACH
	}
	_, err := Get(context.Background(), opts)
	if err == nil || !errors.Is(err, syscall.ENETUNREACH) || !strings.Contains(err.Error(), "same command") || tries.Load() < 2 {
		t.Errorf("after %d tries: %v", tries.Load(), err)
	}
}
