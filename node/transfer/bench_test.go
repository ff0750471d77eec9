package transfer

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"dssn/internal/need"
)

// The benchmarks move 1 GiB over loopback from page cache to page cache. Get
// verifies every byte of it with BLAKE3; curl verifies nothing.

func benchHolder(b *testing.B) *holder {
	b.Helper()
	data := pattern(1, 1<<30)
	o, _ := publish(b, map[string][]byte{"large.bin": data})
	return serve(b, o)
}

func BenchmarkGet(b *testing.B) {
	h := benchHolder(b)
	dir := b.TempDir()
	b.SetBytes(1 << 30)
	n := 0
	for b.Loop() {
		n++
		out := filepath.Join(dir, string(rune('a'+n%26)))
		if _, err := Get(context.Background(), h.options(b, h.local(b), out)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		exec.Command("rm", "-r", out).Run()
		b.StartTimer()
	}
}

func BenchmarkCurl(b *testing.B) {
	curl := need.Tool(b, "curl")
	h := benchHolder(b)
	out := filepath.Join(b.TempDir(), "out")
	b.SetBytes(1 << 30)
	for b.Loop() {
		if msg, err := exec.Command(curl, "-gsSf", "-o", out, "http://"+h.addr+"/large.bin").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, msg)
		}
		b.StopTimer()
		exec.Command("rm", out).Run()
		b.StartTimer()
	}
}
