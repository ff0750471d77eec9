package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"dssn"
)

const (
	// stall is how long a connection may bring nothing before another takes
	// its place: a fresh one does not inherit minutes of back-off.
	stall = 8 * time.Second
	// Retries wait a little longer each time.
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second
)

// Refusal is a holder's answer that trying again will not change.
type Refusal struct {
	Status int    // HTTP
	Detail string // one sentence
}

// Error returns the holder's sentence.
func (r *Refusal) Error() string { return r.Detail }

// temporary marks errors after which another try may work.
type temporary struct{ err error }

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// moved means that the identifier's address leads to another holder than the one
// that was asked for.
type moved struct{ detail string }

func (m *moved) Error() string { return m.detail }

// remote is the holder of one identifier, as HTTP sees it.
type remote struct {
	id     dssn.DataID
	holder dssn.NodeID // who must answer; zero: whoever does
	client *http.Client
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // for streams
	// firstWait is how long to wait before the first retry.
	firstWait time.Duration
}

func newRemote(id dssn.DataID, holder dssn.NodeID, transport Transport, dial func(ctx context.Context, network, address string) (net.Conn, error)) *remote {
	if transport == KCP && dial == nil {
		dial = dialKCP
	}
	if dial == nil {
		// Idle connections ask each second, so that a holder that was killed and
		// started again answers with a reset at once instead of never.
		d := net.Dialer{Timeout: stall, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 8}}
		dial = d.DialContext
	}
	lively := func(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &livelyConn{c}, nil
		}
	}
	streams := dial
	if transport == KCP {
		streams = (&herd{dial: dial}).Dial
	}
	return &remote{id: id, holder: holder, firstWait: firstWait, dial: lively(streams), client: &http.Client{
		Transport: &http.Transport{
			DialContext:           lively(dial),
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       stall,
			ResponseHeaderTimeout: stall,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (r *remote) close() { r.client.CloseIdleConnections() }

// livelyConn fails a read that brings nothing for the time of a stall.
type livelyConn struct{ net.Conn }

// Read implements io.Reader.
func (c *livelyConn) Read(b []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(stall))
	return c.Conn.Read(b)
}

// do sends one request. header may be nil. The response has one of the wanted
// statuses; anything else is an error, a *Refusal or *temporary.
func (r *remote) do(ctx context.Context, method, path string, header http.Header, body []byte, want ...int) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "[" + r.id.String() + "]", Path: path}
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), rd)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if !r.holder.IsZero() {
		req.Header.Set(HolderHeader, r.holder.String())
	}
	res, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, &temporary{fmt.Errorf("reach the holder at %s: %w", r.id, err)}
	}
	for _, s := range want {
		if res.StatusCode == s {
			return res, nil
		}
	}
	defer res.Body.Close()
	return nil, refusal(r.id, path, res)
}

// small fetches something that fits memory, at most limit bytes.
func (r *remote) small(ctx context.Context, path string, limit int64) ([]byte, error) {
	res, err := r.do(ctx, http.MethodGet, path, nil, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return readAll(ctx, res.Body, limit)
}

// part fetches bytes [from, from+n) of something.
func (r *remote) part(ctx context.Context, path string, from, n int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	res, err := r.do(ctx, http.MethodGet, path, rangeHeader(span{from, from + n}), nil, http.StatusPartialContent)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := readAll(ctx, res.Body, n)
	if err == nil && int64(len(b)) != n {
		err = &temporary{fmt.Errorf("the holder at %s sent %d bytes of %d", r.id, len(b), n)}
	}
	return b, err
}

func readAll(ctx context.Context, body io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &temporary{err}
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("the holder sent more than the %d bytes that there can be", limit)
	}
	return b, nil
}

func rangeHeader(s span) http.Header {
	return http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", s.from, s.to-1)}}
}

// acknowledge posts the cumulative count.
func (r *remote) acknowledge(ctx context.Context, transfer string, a acknowledgement) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	res, err := r.do(ctx, http.MethodPost, pathTransfers+transfer, http.Header{"Content-Type": {"application/json"}}, b, http.StatusOK)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, res.Body)
	return res.Body.Close()
}

// insist repeats f while its errors are temporary, until patience is over.
func (r *remote) insist(ctx context.Context, patience time.Duration, f func() error) error {
	deadline := time.Now().Add(patience)
	for wait := r.firstWait; ; wait = min(2*wait, lastWait) {
		err := f()
		var t *temporary
		if err == nil || !errors.As(err, &t) {
			return err
		}
		if time.Now().Add(wait).After(deadline) {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func gaveUp(patience time.Duration, err error) error {
	return fmt.Errorf("nothing arrived for %s (%w): see `dssn status`, then give the same command to go on from here", patience, err)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
