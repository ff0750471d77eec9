package iperf

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
)

// serve runs a Server on a free loopback port for the length of the test.
func serve(t *testing.T, ends chan<- error) *Server {
	t.Helper()
	listening := make(chan int, 1)
	s := &Server{Bind: "127.0.0.1", Interval: 200 * time.Millisecond, OnListen: func(a net.Addr) { listening <- a.(*net.TCPAddr).Port },
		OnEnd: func(_ *Report, err error) {
			if ends != nil {
				ends <- err
			}
		}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.ListenAndServe(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case port := <-listening:
		return &Server{Port: port}
	case err := <-done:
		t.Fatal(err)
	}
	return nil
}

// stockServer runs a real iperf3 server that ends after one test.
func stockServer(t *testing.T) int {
	t.Helper()
	path := need.Tool(t, "iperf3")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(path, "-s", "-1", "-B", "127.0.0.1", "-p", strconv.Itoa(port), "--forceflush")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	b := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "listening"); {
		n, err := out.Read(b)
		if err != nil {
			t.Fatalf("iperf3 -s: %v: %s", err, text)
		}
		text += string(b[:n])
	}
	go io.Copy(io.Discard, out)
	return port
}

type shape struct {
	name string
	args []string
	p    Params
}

var shapes = []shape{
	{"TCP", nil, Params{TCP: true}},
	{"TCP of four streams", []string{"-P", "4"}, Params{TCP: true, Parallel: 4}},
	{"TCP reversed", []string{"-R"}, Params{TCP: true, Reverse: true}},
	{"TCP both ways", []string{"--bidir"}, Params{TCP: true, Bidirectional: true}},
	{"TCP of zero copies", []string{"-Z"}, Params{TCP: true, ZeroCopy: true}},
	{"TCP of 64 MB", []string{"-n", "64000000"}, Params{TCP: true, Num: 64e6}},
	{"TCP of 100 blocks", []string{"-k", "100"}, Params{TCP: true, BlockCount: 100}},
	{"TCP at 200 Mbit/s", []string{"-b", "200M"}, Params{TCP: true, Bandwidth: 200e6}},
	{"UDP at 100 Mbit/s", []string{"-u", "-b", "100M", "-l", "1400"}, Params{UDP: true, Bandwidth: 100e6, Len: 1400}},
	{"UDP of two streams", []string{"-u", "-b", "50M", "-P", "2", "-l", "1400"}, Params{UDP: true, Bandwidth: 50e6, Parallel: 2, Len: 1400}},
	{"UDP reversed", []string{"-u", "-b", "100M", "-R", "-l", "1400"}, Params{UDP: true, Bandwidth: 100e6, Reverse: true, Len: 1400}},
	{"TCP with what the server printed", []string{"--get-server-output", "--dscp", "ef"}, Params{TCP: true, ServerOutput: 1, TOS: 46 << 2}},
	{"UDP not to be fragmented, in bursts", []string{"-u", "-b", "50M/8", "-l", "1400", "--dont-fragment"}, Params{UDP: true, Bandwidth: 50e6, Burst: 8, Len: 1400, DontFragment: true}},
	{"UDP both ways", []string{"-u", "-b", "50M", "--bidir", "-l", "1400"}, Params{UDP: true, Bandwidth: 50e6, Bidirectional: true, Len: 1400}},
}

func (s shape) client(port int) *Client {
	p := s.p
	p.Parallel = max(p.Parallel, 1)
	if p.Num == 0 && p.BlockCount == 0 {
		p.Time = 1
	}
	return &Client{Host: "127.0.0.1", Port: port, Interval: 200 * time.Millisecond, CPU: true, Params: p}
}

// check holds a report, ours or iperf3's, to what the shape asked for.
func (s shape) check(t *testing.T, r *Report) {
	t.Helper()
	p := s.p
	sums := []struct{ tx, rx Sum }{{r.End.SumSent, r.End.SumReceived}}
	if p.Bidirectional {
		if r.End.SumSentReverse == nil || r.End.SumReceivedReverse == nil {
			t.Fatal("no sums of the reverse direction")
		}
		sums = append(sums, struct{ tx, rx Sum }{*r.End.SumSentReverse, *r.End.SumReceivedReverse})
	}
	for i, sum := range sums {
		if sum.rx.Bytes == 0 || sum.tx.Bytes == 0 {
			t.Errorf("direction %d moved nothing: sent %d, received %d bytes", i, sum.tx.Bytes, sum.rx.Bytes)
		}
		if sum.rx.Bytes > sum.tx.Bytes {
			t.Errorf("direction %d received %d bytes, more than the %d sent", i, sum.rx.Bytes, sum.tx.Bytes)
		}
		if p.Bandwidth > 0 {
			want := float64(p.Bandwidth) * float64(max(p.Parallel, 1))
			// A busy machine sends less; nothing may send more.
			if got := sum.tx.BitsPerSecond; got > 1.2*want {
				t.Errorf("direction %d was sent at %.3g bit/s, want at most %.3g", i, got, want)
			}
		}
	}
	if p.Num > 0 && (r.End.SumSent.Bytes < uint64(p.Num) || r.End.SumSent.Bytes > uint64(p.Num)+MaxTCPLen) {
		t.Errorf("sent %d bytes, want %d", r.End.SumSent.Bytes, p.Num)
	}
	if want := int(max(p.Parallel, 1)); !p.Bidirectional && len(r.End.Streams) != want {
		t.Errorf("%d streams, want %d", len(r.End.Streams), want)
	}
	if p.ServerOutput != 0 && r.ServerOutput == "" {
		t.Error("the server's output is missing")
	}
	if len(r.Intervals) == 0 && p.Num == 0 && p.BlockCount == 0 {
		t.Error("no intervals")
	}
}

func TestOurClientAgainstOurServer(t *testing.T) {
	ends := make(chan error, 1)
	port := serve(t, ends).Port
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			r, err := s.client(port).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := <-ends; err != nil {
				t.Error("server:", err)
			}
			s.check(t, r)
			// The receiver counts until the end of the test is called, as iperf3's
			// does: what is under way then is sent and not yet received.
			if n := r.End.SumReceived.Bytes; s.p.Num > 0 && (n == 0 || n > r.End.SumSent.Bytes) {
				t.Errorf("received %d bytes of %d sent", n, r.End.SumSent.Bytes)
			}
			if c := r.End.CPUSecondsPerGB; c == nil || c.Host < 0 {
				t.Errorf("processor cost is %+v", c)
			}
		})
	}
}

func TestStockClientAgainstOurServer(t *testing.T) {
	iperf3 := need.Tool(t, "iperf3")
	ends := make(chan error, 1)
	port := serve(t, ends).Port
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			args := []string{"-c", "127.0.0.1", "-p", strconv.Itoa(port), "-J", "-i", "0.2"}
			if s.p.Num == 0 && s.p.BlockCount == 0 {
				args = append(args, "-t", "1")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, iperf3, append(args, s.args...)...).Output()
			if err != nil {
				t.Fatalf("iperf3 %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			if err := <-ends; err != nil {
				t.Error("server:", err)
			}
			var r Report
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if s.p.UDP {
				udpSums(&r, s.p)
			}
			s.check(t, &r)
		})
	}
}

// udpSums fills in what iperf3 3.12 leaves out of its UDP sums.
func udpSums(r *Report, p Params) {
	if r.End.SumSent.Bytes == 0 && r.End.Sum != nil {
		r.End.SumSent, r.End.SumReceived = *r.End.Sum, *r.End.Sum
	}
	if p.Bidirectional && r.End.SumSentReverse == nil && r.End.Sum != nil {
		r.End.SumSentReverse, r.End.SumReceivedReverse = r.End.Sum, r.End.Sum
	}
}

func TestOurClientAgainstAStockServer(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := s.client(stockServer(t)).Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, r)
		})
	}
}

func TestServerKeepsServingWhateverAClientDoes(t *testing.T) {
	ends := make(chan error, 8)
	port := serve(t, ends).Port
	dial := func() net.Conn {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	state := func(c net.Conn, want State) {
		t.Helper()
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || State(int8(b[0])) != want {
			t.Fatalf("state %d, %v, want %d", int8(b[0]), err, want)
		}
	}
	garbage := dial()
	garbage.Write([]byte(strings.Repeat("\x00\xff", 64)))
	if n, err := garbage.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("garbage was answered")
	}

	first := dial()
	first.Write(newCookie())
	state(first, StateParamExchange)
	second := dial()
	second.Write(newCookie())
	state(second, StateAccessDenied)
	busy := shapes[0].client(port)
	if _, err := busy.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a second client got %v, want that the server is busy", err)
	}
	first.Close()
	if err := <-ends; err == nil {
		t.Error("a client that left was reported as a success")
	}

	for _, body := range []string{`{"tcp":true,"parallel":1e9,"len":1}`, `{"tcp":true,"parallel":1,"time":-5}`, `{"tcp":true,"udp":true,"parallel":1}`,
		`{"udp":true,"parallel":1,"len":3}`, `not JSON`, `{"tcp":true,"parallel":1,"bandwidth":-7}`} {
		c := dial()
		c.Write(newCookie())
		state(c, StateParamExchange)
		c.Write(append([]byte{0, 0, 0, byte(len(body))}, body...))
		state(c, StateServerError)
		c.Close()
		if err := <-ends; err == nil {
			t.Errorf("%s was accepted", body)
		}
	}
	huge := dial()
	huge.Write(newCookie())
	state(huge, StateParamExchange)
	huge.Write([]byte{0x7f, 0xff, 0xff, 0xff})
	state(huge, StateServerError)
	huge.Close()
	<-ends

	// A client that stops in the middle.
	ctx, cancel := context.WithCancel(t.Context())
	midway := shapes[0].client(port)
	midway.OnInterval = func(ReportInterval) { cancel() }
	if _, err := midway.Run(ctx); err == nil {
		t.Error("a cancelled test was reported as a success")
	}
	if err := <-ends; err == nil {
		t.Error("a cancelled test was reported as a success by the server")
	}
	if _, err := shapes[0].client(port).Run(t.Context()); err != nil {
		t.Error("after all that:", err)
	}
	<-ends
}

func TestClientSaysWhatIsWrong(t *testing.T) {
	for want, c := range map[string]*Client{
		"no server answers":   {Host: "127.0.0.1", Port: 1, Params: Params{TCP: true, Parallel: 1, Time: 1}},
		"not a local address": {Host: "127.0.0.1", Port: 1, Bind: "nonsense", Params: Params{TCP: true, Parallel: 1, Time: 1}},
	} {
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestStreamsAreNumberedInTheOrderOfTheirConnections says the cookie of the second
// connection first: the server must still send on the second and not on the first.
func TestStreamsAreNumberedInTheOrderOfTheirConnections(t *testing.T) {
	ends := make(chan error, 1)
	port := serve(t, ends).Port
	dial := func() net.Conn {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	control, cookie := dial(), newCookie()
	control.Write(cookie)
	if err := expectState(control, StateParamExchange); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(control, &Params{TCP: true, Bidirectional: true, Parallel: 1, Time: 5, Len: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := expectState(control, StateCreateStreams); err != nil {
		t.Fatal(err)
	}
	first := dial()
	second := dial()
	second.Write(cookie)
	time.Sleep(20 * time.Millisecond) // so that the server has read it before the other's
	first.Write(cookie)
	if err := expectState(control, StateTestRunning, StateTestStart); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(second, make([]byte, 5000)); err != nil {
		t.Errorf("%d bytes on the connection that the server sends on: %v", n, err)
	}
	first.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := first.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the server sends on the connection that the client sends on")
	}
	control.Close()
	<-ends
}
