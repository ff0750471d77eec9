package node

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// early is a controller that answers before it reads the request's body, as
// HTTP/2 lets it: the sender still reads the body while the answer arrives, and
// the answer ends with an error if that cannot be read.
type early struct{ answer string }

func (c early) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: -1, Request: r,
		Body: &earlyBody{request: r.Body, parts: []string{c.answer[:4], c.answer[4:]}}}, nil
}

type earlyBody struct {
	request io.ReadCloser
	parts   []string
}

func (b *earlyBody) Read(p []byte) (int, error) {
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	if len(b.parts) == 1 && b.request != nil { // the first part is on its way to whoever asked
		if _, err := io.Copy(io.Discard, b.request); err != nil {
			return 0, errors.New("send the request's body: " + err.Error())
		}
	}
	n := copy(p, b.parts[0])
	b.parts = b.parts[1:]
	return n, nil
}

func (b *earlyBody) Close() error { return nil }

func TestProxyDeliversAnAnswerThatComesBeforeTheBodyIsRead(t *testing.T) {
	const answer = `{"id":"r-0123456789abcdef"}`
	n := &running{log: slog.New(slog.DiscardHandler), client: &http.Client{Transport: early{answer}}}
	n.uplink = newUplink(n.log, n.client, []string{"https://controller.invalid"})
	local := httptest.NewServer(n.proxy())
	defer local.Close()
	for _, size := range []int{0, 2, 100_000} {
		resp, err := local.Client().Post(local.URL+"/v1/x", "application/json", strings.NewReader(strings.Repeat(" ", size)))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != answer {
			t.Errorf("a request of %d bytes was answered %q, %v; want %q", size, got, err, answer)
		}
	}
}
