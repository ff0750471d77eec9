package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/content"
	"dssn/internal/need"
)

// ask sends one request over its own connection.
func (h *holder) ask(t testing.TB, method, path string, header map[string]string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+h.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

func TestServerSpeaksHTTPToAnybody(t *testing.T) {
	data := pattern(1, 300_000)
	o, r := publish(t, map[string][]byte{"a/x y": data, "b": data[:5], "empty": nil})
	h := serve(t, o)

	res, b := h.ask(t, "GET", "/a/x%20y", nil)
	root := content.Digest(content.Hash(data))
	if res.StatusCode != 200 || !bytes.Equal(b, data) || res.Header.Get("ETag") != `"`+root.String()+`"` || res.ContentLength != int64(len(data)) {
		t.Errorf("GET: %v", res)
	}
	res, b = h.ask(t, "HEAD", "/a/x%20y", nil)
	if res.StatusCode != 200 || len(b) != 0 || res.ContentLength != int64(len(data)) {
		t.Errorf("HEAD: %v", res)
	}
	res, b = h.ask(t, "GET", "/a/x%20y", map[string]string{"Range": "bytes=1000-1999"})
	if res.StatusCode != 206 || !bytes.Equal(b, data[1000:2000]) || res.Header.Get("Content-Range") != "bytes 1000-1999/300000" {
		t.Errorf("range: %v", res)
	}
	res, b = h.ask(t, "GET", "/a/x%20y", map[string]string{"Range": "bytes=-10"})
	if res.StatusCode != 206 || !bytes.Equal(b, data[len(data)-10:]) {
		t.Errorf("suffix: %v", res)
	}
	res, b = h.ask(t, "GET", "/a/x%20y", map[string]string{"Range": "bytes=0-9,100-109"})
	_, params, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	mr := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for _, want := range [][]byte{data[:10], data[100:110]} {
		part, err := mr.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(part); !bytes.Equal(got, want) {
			t.Errorf("part %q", got)
		}
	}
	if res, _ = h.ask(t, "GET", "/a/x%20y", map[string]string{"Range": "bytes=300000-"}); res.StatusCode != 416 {
		t.Errorf("range beyond: %v", res.Status)
	}
	if res, _ = h.ask(t, "GET", "/a/x%20y", map[string]string{"If-None-Match": `"` + root.String() + `"`}); res.StatusCode != 304 {
		t.Errorf("not modified: %v", res.Status)
	}
	res, b = h.ask(t, "GET", "/", nil)
	if res.StatusCode != 200 || !strings.Contains(string(b), "  "+root.String()+"  a/x y\n") || strings.Count(string(b), "\n") != 3 {
		t.Errorf("listing: %s", b)
	}
	_, b = h.ask(t, "GET", "/a/", map[string]string{"Accept": "application/json"})
	var listing struct {
		Record content.Record
		Files  []content.File
	}
	if err := json.Unmarshal(b, &listing); err != nil || listing.Record.ID != r.ID || len(listing.Files) != 1 || listing.Files[0].Root != root {
		t.Errorf("JSON listing: %s, %v", b, err)
	}
	_, b = h.ask(t, "GET", "/.dssn/record", nil)
	var rec content.Record
	if err := json.Unmarshal(b, &rec); err != nil || rec.Verify() != nil || rec.ID != r.ID {
		t.Errorf("record: %s", b)
	}
	if _, b = h.ask(t, "GET", "/.dssn/manifest", nil); !bytes.Equal(b, o.Manifest) {
		t.Errorf("manifest: %s", b)
	}
	if _, b = h.ask(t, "GET", "/.dssn/outboard/a/x%20y", nil); int64(len(b)) != content.OutboardSize(300_000) {
		t.Errorf("outboard of %d bytes", len(b))
	}
	for path, want := range map[string]int{"/none": 404, "/none/": 404, "/../etc/passwd": 404, "/a/../b": 404, "/%2e%2e/b": 404,
		"//b": 404, "/.dssn/outboard/none": 404, "/.dssn/other": 404, "/a": 404} {
		res, b := h.ask(t, "GET", path, nil)
		var p Problem
		if res.StatusCode != want || json.Unmarshal(b, &p) != nil || p.Status != want || p.Detail == "" || strings.Contains(p.Detail, "\n") {
			t.Errorf("%s: %s %s", path, res.Status, b)
		}
	}
	if res, _ = h.ask(t, "POST", "/b", nil); res.StatusCode != 405 {
		t.Errorf("POST: %v", res.Status)
	}
	if res, _ = h.ask(t, "POST", "/.dssn/transfers/none", nil); res.StatusCode != 400 {
		t.Errorf("strange acknowledgement: %v", res.Status)
	}
	why := "no grant: ask"
	h.refuse.Store(&why)
	for _, path := range []string{"/", "/b", "/.dssn/record", "/.dssn/manifest", "/.dssn/outboard/b", "/.dssn/transfers/" + newTransferID()} {
		res, b := h.ask(t, "GET", path, nil)
		var p Problem
		if json.Unmarshal(b, &p); res.StatusCode != 403 || p.Detail != why {
			t.Errorf("%s without permission: %s %s", path, res.Status, b)
		}
	}
}

// net/http's sendfile path needs a writer that reads from and a reader that is
// a file with a limit. This writer says what it was given.
type sendfileWriter struct {
	*httptest.ResponseRecorder
	got io.Reader
}

func (w *sendfileWriter) ReadFrom(r io.Reader) (int64, error) {
	w.got = r
	return io.Copy(w.ResponseRecorder, r)
}

func TestFilesGoOutBySendfile(t *testing.T) {
	o, r := publish(t, map[string][]byte{"f": pattern(1, 100_000)})
	h := serve(t, o)
	for _, header := range []string{"", "bytes=5-50000"} {
		w := &sendfileWriter{ResponseRecorder: httptest.NewRecorder()}
		req := httptest.NewRequest("GET", "/f", nil)
		req.RemoteAddr = "[::1]:1"
		if header != "" {
			req.Header.Set("Range", header)
		}
		h.Handler(r.ID).ServeHTTP(w, req)
		lr, ok := w.got.(*io.LimitedReader)
		if !ok {
			t.Fatalf("%q: the connection was given a %T", header, w.got)
		}
		if _, ok := lr.R.(syscall.Conn); !ok {
			t.Errorf("%q: the connection was given a %T, which has no descriptor", header, lr.R)
		}
	}
	var _ io.ReaderFrom = (*conn)(nil)
}

// settled waits until the holder's books say want; TCP's acknowledgement of the
// last bytes is a moment behind.
func settled(t *testing.T, h *holder, want uint64) Served {
	t.Helper()
	var list []Served
	for range 3000 {
		list = h.Deliveries()
		if len(list) == 1 && list[0].ContentBytes == want {
			return list[0]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the books say %+v, want %d bytes", list, want)
	return Served{}
}

func TestStockClientIsAccountedByWhatTCPAcknowledged(t *testing.T) {
	data := pattern(1, 8<<20)
	o, _ := publish(t, map[string][]byte{"f": data, "g": data[:1000]})
	t.Run("whole files over one connection", func(t *testing.T) {
		h := serve(t, o)
		c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
		for _, p := range []string{"f", "g", "g"} {
			res, err := c.Get("http://" + h.addr + "/" + p)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		d := settled(t, h, 8<<20+2000)
		if d.Done || !d.OneSided {
			t.Errorf("%+v", d)
		}
		c.CloseIdleConnections()
		for !h.Deliveries()[0].Done {
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("several ranges", func(t *testing.T) {
		h := serve(t, o)
		h.ask(t, "GET", "/f", map[string]string{"Range": "bytes=0-999,5000-5999"})
		settled(t, h, 2000)
	})
	t.Run("a client that reads a little and goes away", func(t *testing.T) {
		h := serve(t, o)
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprintf(c, "GET /f HTTP/1.1\r\nHost: x\r\n\r\n")
		io.CopyN(io.Discard, c, 100_000)
		live := h.Deliveries()
		for len(live) != 1 || live[0].ContentBytes < 90_000 {
			time.Sleep(time.Millisecond) // acknowledgements are a moment behind
			live = h.Deliveries()
		}
		c.Close()
		for {
			if l := h.Deliveries(); len(l) == 1 && l[0].Done {
				if n := l[0].ContentBytes; n < 90_000 || n > 7<<20 {
					t.Errorf("%d bytes counted of about 100000 read", n)
				}
				if live[0].ContentBytes > l[0].ContentBytes {
					t.Errorf("while it lasted: %+v", live)
				}
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		h := serve(t, o)
		h.ask(t, "HEAD", "/f", nil)
		for _, d := range h.Deliveries() {
			if d.ContentBytes != 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

// The identifier is the address: in a network namespace of its own, a real
// curl fetches from it, resumes, and a source without a grant is refused.
func TestIdentifierIsTheAddress(t *testing.T) {
	if os.Getenv("DSSN_TEST_ANYIP") != "" {
		inNamespace(t)
		return
	}
	need.Root(t)
	need.Tool(t, "curl")
	need.Tool(t, "ip")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestIdentifierIsTheAddress$", "-test.v")
	cmd.Env = append(os.Environ(), "DSSN_TEST_ANYIP=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	b, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		need.Kernel(t, "network namespaces", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

func inNamespace(t *testing.T) {
	run := func(line string, args ...any) (string, error) {
		f := strings.Fields(fmt.Sprintf(line, args...))
		b, err := exec.Command(f[0], f[1:]...).CombinedOutput()
		return string(b), err
	}
	data := pattern(4, 3<<20)
	o, r := publish(t, map[string][]byte{"f": data, "g": data[:100]})
	other, r2 := publish(t, map[string][]byte{"f": data[:7]})
	friend, stranger := testNode(t, 1), testNode(t, 9)
	for _, line := range []string{"ip link set lo up", "ip -6 route add local " + r.ID.String() + "/128 dev lo",
		"ip -6 route add local " + r2.ID.String() + "/128 dev lo", "ip -6 addr add " + friend.String() + "/128 dev lo nodad",
		"ip -6 addr add " + stranger.String() + "/128 dev lo nodad"} {
		if out, err := run("%s", line); err != nil {
			t.Fatalf("%s: %v %s", line, err, out)
		}
	}
	s := NewServer(ServerOptions{Logger: slog.New(slog.DiscardHandler), Admit: func(source netip.Addr, data dssn.DataID, _ string) (Terms, error) {
		if source != friend.Addr() {
			return Terms{}, fmt.Errorf("%s has no grant for %s: ask its owner", source, data)
		}
		return Terms{Peer: friend}, nil
	}})
	for _, o := range []Offering{o, other} {
		if err := s.Offer(o); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "[::]:80")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	out := filepath.Join(t.TempDir(), "f")
	if msg, err := run("curl -gsSf --interface %s -o %s http://[%s]/f", friend, out, r.ID); err != nil {
		t.Fatalf("curl: %v %s", err, msg)
	}
	if b, _ := os.ReadFile(out); !bytes.Equal(b, data) {
		t.Error("curl got other bytes")
	}
	os.Truncate(out, 1_000_000)
	if msg, err := run("curl -gsSf --interface %s -C - -o %s http://[%s]/f", friend, out, r.ID); err != nil {
		t.Fatalf("curl -C -: %v %s", err, msg)
	}
	if b, _ := os.ReadFile(out); !bytes.Equal(b, data) {
		t.Error("curl resumed to other bytes")
	}
	if msg, err := run("curl -gsSf --interface %s http://[%s]/f", friend, r2.ID); err != nil || msg != string(data[:7]) {
		t.Errorf("the other identifier: %v %q", err, msg)
	}
	if msg, _ := run("curl -gsS --interface %s http://[%s]/f", stranger, r.ID); !strings.Contains(msg, "has no grant for "+r.ID.String()) {
		t.Errorf("a stranger: %s", msg)
	}
	if msg, _ := run("curl -gsS --interface %s http://[%s]/f", friend, friend); !strings.Contains(msg, "is not held here") {
		t.Errorf("a node's own address: %s", msg)
	}
	dest := t.TempDir()
	h := &holder{record: r}
	opts := h.options(t, h.local(t), dest)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: friend.Addr().AsSlice()}}
	opts.Dial = d.DialContext
	if _, err := Get(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	sameTree(t, o.Dir, dest)
	var stock, ours uint64
	for _, d := range s.Deliveries() {
		if d.OneSided {
			stock += d.ContentBytes
		} else {
			ours += d.ContentBytes
		}
	}
	if want := uint64(3<<20 + 3<<20 - 1_000_000 + 7); stock != want || ours != uint64(r.Length) {
		t.Errorf("stock clients had %d bytes, want %d; get had %d, want %d", stock, want, ours, r.Length)
	}
}

func TestPacedConnectionsShareTheRate(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var cs []*conn
	for range 3 {
		go func() {
			if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
				defer c.Close()
				io.Copy(io.Discard, c)
			}
		}()
		c, err := listener{l}.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cs = append(cs, c.(*conn))
	}
	var p pacing
	a, b, id := netip.MustParseAddr("3fff::1"), netip.MustParseAddr("3fff::2"), dssn.DataID{}
	check := func(what string, want ...uint64) {
		t.Helper()
		for i, w := range want {
			if got := kernelPace(t, cs[i]); got != w {
				t.Errorf("%s: connection %d is paced at %d bytes a second, want %d", what, i, got, w)
			}
		}
	}
	const free = 1<<64 - 1
	p.use(cs[0], a, id, 0)
	check("rate not known", free, free, free)
	p.use(cs[0], a, id, 640*dssn.Gbps) // more than 32 bits of bytes a second
	check("alone", 75e9, free, free)
	p.use(cs[1], a, id, 640*dssn.Gbps)
	p.use(cs[2], b, id, 64*dssn.Gbps)
	check("two and one", 37.5e9, 37.5e9, 7.5e9)
	p.use(cs[1], a, id, 64*dssn.Gbps)
	check("the rate falls", 3.75e9, 3.75e9, 7.5e9)
	cs[1].Close()
	check("one leaves", 7.5e9)
	cs[0].Close()
	cs[2].Close()
	if len(p.groups) != 0 {
		t.Errorf("%d groups left over", len(p.groups))
	}
}

func kernelPace(t *testing.T, c *conn) (rate uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if rate, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE); err != nil {
			t.Error(err)
		}
	})
	return rate
}
