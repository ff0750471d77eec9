package transfer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
)

func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// holder is a server on loopback with one dataset.
type holder struct {
	// instead, if set, answers in place of the real handler, which it is given.
	instead atomic.Pointer[func(w http.ResponseWriter, r *http.Request, real http.Handler)]
	*Server
	dir    string
	record content.Record
	addr   string
	terms  Terms
	refuse atomic.Pointer[string]
	now    func() time.Time
}

func publish(t testing.TB, files map[string][]byte) (Offering, content.Record) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return publishDir(t, dir)
}

func publishDir(t testing.TB, dir string) (Offering, content.Record) {
	t.Helper()
	outboard, err := os.Create(filepath.Join(t.TempDir(), "outboard"))
	if err != nil {
		t.Fatal(err)
	}
	defer outboard.Close()
	ds, err := content.Build(context.Background(), dir, content.BuildOptions{Outboard: outboard})
	if err != nil {
		t.Fatal(err)
	}
	r := content.Record{Name: "test", Registrant: netip.MustParsePrefix("3fff:d55:12:7::/64"), Grade: dssn.GradeGeneral2,
		Category: dssn.CategoryMeteorology, Root: ds.Root, Length: ds.Length, Files: uint64(len(ds.Manifest.Files)), Created: time.Unix(1.8e9, 0)}
	if err := r.Sign(ed25519.NewKeyFromSeed(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	return Offering{Record: r, Dir: dir, Manifest: ds.Text, Outboard: outboard.Name()}, r
}

func testNode(t testing.TB, seed byte) dssn.NodeID {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	id, err := content.MintNode(netip.MustParsePrefix("3fff:d55:12:7::/64"), key.Public().(ed25519.PublicKey), 0)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// serve listens on loopback. The requests arrive at ::1, which is no
// identifier, so the handler is told which dataset they are for.
func serve(t testing.TB, o Offering) *holder {
	t.Helper()
	h := &holder{record: o.Record, dir: o.Dir}
	h.terms = Terms{Peer: testNode(t, 2), Reservation: 0xfeed}
	h.Server = NewServer(ServerOptions{
		Holder: testNode(t, 1),
		Logger: slog.New(slog.DiscardHandler),
		Admit: func(source netip.Addr, data dssn.DataID, _ string) (Terms, error) {
			if why := h.refuse.Load(); why != nil {
				return Terms{}, errors.New(*why)
			}
			if data != o.Record.ID || !source.IsLoopback() {
				return Terms{}, fmt.Errorf("%s may not reach %s", source, data)
			}
			return h.terms, nil
		},
	})
	real := h.Handler(o.Record.ID)
	h.Server.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if instead := h.instead.Load(); instead != nil {
			(*instead)(w, r, real)
			return
		}
		real.ServeHTTP(w, r)
	})
	if err := h.Offer(o); err != nil {
		t.Fatal(err)
	}
	h.listen(t)
	return h
}

func (h *holder) listen(t testing.TB) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// dial reaches the holder whatever the address.
func (h *holder) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, h.addr)
}

// local is the node of the receiver.
type local struct {
	mu     sync.Mutex
	res    Resolution
	err    error
	latest southbound.Delivery
	low    bool // a count fell
}

func (l *local) Resolve(context.Context, dssn.DataID) (Resolution, error) { return l.res, l.err }
func (l *local) Path(context.Context, dssn.NodeID) (string, error)        { return "a → b", nil }
func (l *local) Report(_ context.Context, d southbound.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.low = l.low || d.ContentBytes < l.latest.ContentBytes
	l.latest = d
	return nil
}

func (h *holder) local(t testing.TB) *local {
	return &local{res: Resolution{Record: h.record, Holder: testNode(t, 1), Reservation: 0xfeed}}
}

func (h *holder) options(t testing.TB, l *local, out string) Options {
	return Options{URI: h.record.ID.URI(), Out: out, Local: l, Dial: h.dial, Patience: 30 * time.Second}
}

// sameTree compares two folders, ignoring nothing.
func sameTree(t testing.TB, want, got string) {
	t.Helper()
	read := func(dir string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			rel, _ := filepath.Rel(dir, p)
			out[rel] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	w, g := read(want), read(got)
	for p, b := range w {
		if gb, ok := g[p]; !ok {
			t.Errorf("%q is missing", p)
		} else if gb != b {
			t.Errorf("%q differs", p)
		}
	}
	for p := range g {
		if _, ok := w[p]; !ok {
			t.Errorf("%q is left over", p)
		}
	}
}

// equalEnds checks the law of the room: both ends count the same bytes.
func equalEnds(t testing.TB, h *holder, l *local, want dssn.ByteCount) {
	t.Helper()
	all := h.Deliveries()
	if len(all) != 1 {
		t.Fatalf("the holder knows %d transfers: %+v", len(all), all)
	}
	d := all[0]
	if d.ContentBytes != l.latest.ContentBytes || d.Transfer != l.latest.Transfer || d.ContentBytes != uint64(want) {
		t.Errorf("holder counts %d of %s, receiver %d of %s, want %d", d.ContentBytes, d.Transfer, l.latest.ContentBytes, l.latest.Transfer, want)
	}
	if d.End != southbound.EndHolder || l.latest.End != southbound.EndReceiver || d.Reservation != 0xfeed || !d.Done || !l.latest.Done {
		t.Errorf("holder %+v\nreceiver %+v", d, l.latest)
	}
	if l.low {
		t.Error("the receiver's count fell")
	}
}

func someFiles() map[string][]byte {
	data := pattern(1, 9<<20+777)
	return map[string][]byte{
		"empty":             nil,
		"one":               data[:1],
		"group":             data[:content.GroupBytes],
		"2024/a b%c?#.nc":   data[:100_000],
		"2024/large.bin":    data,
		"2024/large":        data[7 : 5<<20],
		"大/小":               data[:20_000],
		"2024/a b%c?#.nc.p": data[:3],
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		flag.Set("rapid.checks", "40") // each moves megabytes
	}
	flag.Set("rapid.nofailfile", "true")
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // kcp-go has timers of its own from the beginning
}

func TestGetFetchesEveryByteAndBothEndsCountThem(t *testing.T) {
	o, r := publish(t, someFiles())
	h := serve(t, o)
	l := h.local(t)
	out := filepath.Join(t.TempDir(), "new", "out")
	opts := h.options(t, l, out)
	var last Progress
	opts.Progress = func(p Progress) { last = p }
	res, err := Get(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, out)
	equalEnds(t, h, l, r.Length)
	if res.Bytes != r.Length || res.Fetched != r.Length || res.Files != int(r.Files) || res.Digest != r.Root || last.Bytes != r.Length || last.Files != int(r.Files) {
		t.Errorf("result %+v\nlast progress %+v", res, last)
	}
	// Again: everything is there, nothing is fetched, nothing is counted.
	res, err = Get(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if res.Reused != r.Length || res.Fetched != 0 || res.ContentBytes != 0 {
		t.Errorf("second run: %+v", res)
	}
	equalEnds(t, h, l, r.Length)
	sameTree(t, o.Dir, out)
}

func TestGetOfOneFileOrFolder(t *testing.T) {
	o, _ := publish(t, someFiles())
	h := serve(t, o)
	for path, want := range map[string][]string{"one": {"one"}, "大/": {"大/小"}, "2024/large": {"2024/large"}} {
		out := t.TempDir()
		opts := h.options(t, h.local(t), out)
		opts.URI += path
		res, err := Get(context.Background(), opts)
		if err != nil || res.Files != len(want) {
			t.Fatalf("%q: %+v, %v", path, res, err)
		}
		for _, p := range want {
			b, err := os.ReadFile(filepath.Join(out, p))
			if err != nil || !bytes.Equal(b, someFiles()[p]) {
				t.Errorf("%q: %v", p, err)
			}
		}
	}
	opts := h.options(t, h.local(t), t.TempDir())
	opts.URI += "none"
	if _, err := Get(context.Background(), opts); err == nil || !strings.Contains(err.Error(), "holds no file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// A line between holder and receiver on which no answer arrives before eight
// files have been asked for: a get that waited for each answer would starve.
func TestSmallFilesAreAskedForAhead(t *testing.T) {
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("f%d", i)] = pattern(byte(i), 20_000)
	}
	o, r := publish(t, files)
	h := serve(t, o)
	l := h.local(t)
	opts := h.options(t, l, t.TempDir())
	opts.Streams = 1
	opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := h.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &hesitant{Conn: c, enough: make(chan struct{})}, nil
	}
	res, err := Get(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if res.Retries != 0 {
		t.Errorf("%d retries", res.Retries)
	}
	equalEnds(t, h, l, r.Length)
}

// hesitant lets nothing through to a connection that asks for files until it
// has asked for eight.
type hesitant struct {
	net.Conn
	files  int
	enough chan struct{}
}

func (c *hesitant) Write(b []byte) (int, error) {
	before := c.files
	c.files += bytes.Count(b, []byte("GET /f"))
	if before == 0 && bytes.HasPrefix(b, []byte("GET /.dssn/manifest")) || bytes.HasPrefix(b, []byte("POST ")) || before < 8 && c.files >= 8 {
		select {
		case <-c.enough:
		default:
			close(c.enough)
		}
	}
	return c.Conn.Write(b)
}

func (c *hesitant) Read(b []byte) (int, error) {
	select {
	case <-c.enough:
		return c.Conn.Read(b)
	case <-time.After(10 * time.Second):
		return 0, errors.New("eight files were not asked for")
	}
}
