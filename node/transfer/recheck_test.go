package transfer

import (
	"io"
	"net/http"
	"testing"
)

func TestAnAnswerOnItsWayEndsWithTheRightToIt(t *testing.T) {
	const size = 64 << 20 // more than the sockets between the two hold
	o, _ := publish(t, map[string][]byte{"f": pattern(9, size)})
	h := serve(t, o)
	get := func() *http.Response {
		t.Helper()
		resp, err := http.Get("http://" + h.addr + "/f")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := get()
	if _, err := io.CopyN(io.Discard, resp.Body, 1000); err != nil {
		t.Fatal(err)
	}
	if n := h.Recheck(); n != 0 {
		t.Fatalf("%d answers ended although nobody lost a right", n)
	}
	why := "it is frozen: under investigation"
	h.refuse.Store(&why)
	if n := h.Recheck(); n != 1 {
		t.Fatalf("%d answers ended, want the one on its way", n)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= size-1000 {
		t.Errorf("after the freeze %d bytes came (error %v): want a part and an error", n, err)
	}
	if resp := get(); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a new request was answered %s, want 403", resp.Status)
	}
	if n := h.Recheck(); n != 0 {
		t.Errorf("%d answers ended twice", n)
	}
}
