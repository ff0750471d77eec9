package controller_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"dssn/controller/controllertest"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// flood is a JSON string without an end, counted as it is read.
type flood struct {
	left int64
	sent atomic.Int64
}

func (f *flood) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), f.left))
	for i := range b[:n] {
		b[i] = 'a'
	}
	if f.sent.Load() == 0 {
		copy(b, `{"token":"`)
	}
	f.left -= int64(n)
	f.sent.Add(int64(n))
	return n, nil
}

func TestABodyOfAGigabyteIsCutShort(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := newWorld(t, ctx)
	tok := must(w.op.CreateToken(ctx, northbound.TokenRequest{Node: "north-9", Role: southbound.RoleTerminal, Institution: "north"}))(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: controllertest.Pinned(tok.Token), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	body := &flood{left: 1 << 30}
	req := must(http.NewRequestWithContext(ctx, http.MethodPost, w.url+southbound.JoinPath, body))(t)
	req.ContentLength = body.left
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("a body of a gigabyte was answered %s", resp.Status)
		}
	}
	runtime.ReadMemStats(&after)
	if n := body.sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes of the body were taken", n)
	}
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 128<<20 {
		t.Errorf("%d bytes were allocated for it", grown)
	}
	must(w.op.Status(ctx))(t) // it answers others as before
}
