package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"dssn"
)

// stream is one connection to the holder on which requests are sent ahead of
// the answers (HTTP/1.1 pipelining, RFC 9112 §9.3.2: the server answers in
// order), so that small files and the ends of pieces cost no round trip. Any
// error ends it. For one goroutine.
type stream struct {
	id   dssn.DataID
	head string // what every request says
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	low  lowWater
	stop func() bool
}

// openStream connects. The end of ctx closes the connection.
func (r *remote) openStream(ctx context.Context) (*stream, error) {
	c, err := r.dial(ctx, "tcp", "["+r.id.String()+"]:80")
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &temporary{fmt.Errorf("reach the holder at %s: %w", r.id, err)}
	}
	head := fmt.Sprintf("Host: [%s]\r\n", r.id)
	if !r.holder.IsZero() {
		head += fmt.Sprintf("%s: %s\r\n", HolderHeader, r.holder)
	}
	return &stream{
		id: r.id, head: head, conn: c,
		in: bufio.NewReaderSize(c, 16<<10), out: bufio.NewWriterSize(c, 16<<10),
		low:  newLowWater(c),
		stop: context.AfterFunc(ctx, func() { c.Close() }),
	}, nil
}

func (s *stream) close() {
	s.stop()
	s.conn.Close()
}

// ask writes a request for a range; flush sends it.
func (s *stream) ask(path string, want span, transfer string, verified uint64) {
	u := url.URL{Path: path}
	fmt.Fprintf(s.out, "GET %s HTTP/1.1\r\n%sRange: bytes=%d-%d\r\n", u.EscapedPath(), s.head, want.from, want.to-1)
	if transfer != "" {
		fmt.Fprintf(s.out, "%s: %s\r\n%s: %d\r\n", TransferHeader, transfer, VerifiedHeader, verified)
	}
	s.out.WriteString("\r\n") // errors stay in the writer until flush
}

func (s *stream) flush() error {
	if err := s.out.Flush(); err != nil {
		return s.broken(err)
	}
	return nil
}

func (s *stream) broken(err error) error {
	return &temporary{fmt.Errorf("the connection to the holder at %s broke: %w", s.id, err)}
}

// fill reads exactly len(p) bytes of a body, waking about every lowWater bytes.
func (s *stream) fill(body io.Reader, p []byte, lowWater int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		s.low.expect(min(int64(len(p)-n-s.in.Buffered()), lowWater))
		m, err = body.Read(p[n:])
		n += m
	}
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// answer reads the head of the next answer, which must be the range asked for.
// size is that of the whole. The body must be read to its end before the next
// answer.
func (s *stream) answer(path string, want span, size int64) (io.Reader, error) {
	s.low.expect(1)
	res, err := http.ReadResponse(s.in, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, s.broken(err)
	}
	if res.StatusCode != http.StatusPartialContent {
		return nil, refusal(s.id, path, res)
	}
	expected := fmt.Sprintf("bytes %d-%d/%d", want.from, want.to-1, size)
	if got := res.Header.Get("Content-Range"); got != expected || res.ContentLength != want.len() {
		return nil, fmt.Errorf("the holder sent %d bytes, %q, of %s for %q: ask the holder to publish again", res.ContentLength, got, path, expected)
	}
	return res.Body, nil
}

// refusal turns an answer that was not wanted into a *Refusal or *temporary.
func refusal(id dssn.DataID, path string, res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 8<<10))
	p := Problem{Detail: fmt.Sprintf("the holder of %s answered %s to %s", id, res.Status, path)}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		json.Unmarshal(text, &p)
	}
	if res.StatusCode == http.StatusMisdirectedRequest {
		return &moved{p.Detail}
	}
	if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
		return &temporary{errors.New(p.Detail)}
	}
	return &Refusal{Status: res.StatusCode, Detail: p.Detail}
}
