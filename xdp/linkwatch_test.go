package xdp

import (
	"encoding/binary"
	"testing"
)

// message is a link announcement as the kernel writes it.
func message(kind uint16, ifindex int32, flags uint32) []byte {
	b := make([]byte, 32)
	binary.NativeEndian.PutUint32(b, 32)
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[20:], uint32(ifindex))
	binary.NativeEndian.PutUint32(b[24:], flags)
	return b
}

func TestLinkEventsAreReadAsUpOrDown(t *testing.T) {
	const newLink, delLink, newAddress = 16, 17, 20
	const up, lowerUp = 1, 1 << 16
	for _, c := range []struct {
		name   string
		m      []byte
		up, is bool
	}{
		{"carrier", message(newLink, 7, up|lowerUp), true, true},
		{"no carrier", message(newLink, 7, up), false, true},
		{"set down", message(newLink, 7, lowerUp), false, true},
		{"deleted", message(delLink, 7, up|lowerUp), false, true},
		{"something else", message(newAddress, 7, up|lowerUp), false, false},
	} {
		ifindex, isUp, is, rest := nextLink(append(c.m, message(newLink, 8, 0)...))
		if isUp != c.up || is != c.is || is && ifindex != 7 || len(rest) != 32 {
			t.Errorf("%s: interface %d, up %v, a link %v, %d bytes left", c.name, ifindex, isUp, is, len(rest))
		}
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(message(16, 1, 1))
	f.Add([]byte{16, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			_, _, _, rest := nextLink(b)
			if rest == nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatalf("reading %d bytes left %d", len(b), len(rest))
			}
			b = rest
		}
	})
}

func TestRunAfterCloseReturnsAtOnce(t *testing.T) {
	w, err := WatchLinks()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := w.Run(func(int, bool) { t.Error("told something") }); err != nil {
		t.Error(err)
	}
}
