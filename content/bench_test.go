package content

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dssn"
)

// BenchmarkCheck is one core verifying groups that lie in cache.
func BenchmarkCheck(b *testing.B) {
	data := pattern(64 * GroupBytes)
	f, out := outboardOf(data)
	s, err := openOutboard(f, out)
	if err != nil {
		b.Fatal(err)
	}
	var h Hasher
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for g := range Groups(f.Size) {
			if err := s.Check(&h, g, data[g*GroupBytes:(g+1)*GroupBytes]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkBuild publishes 1 GiB in the page cache: one large file and many
// small ones. Compare with `b3sum` over the same files.
func BenchmarkBuild(b *testing.B) {
	dir := b.TempDir()
	data := pattern(64 << 20)
	large, err := os.Create(filepath.Join(dir, "large.bin"))
	if err != nil {
		b.Fatal(err)
	}
	for range 15 {
		large.Write(data)
	}
	if err := large.Close(); err != nil {
		b.Fatal(err)
	}
	for i := range 1024 {
		at := i * 65536 % len(data)
		if err := os.WriteFile(filepath.Join(dir, time.Unix(int64(i), 0).UTC().Format("150405")), data[at:at+65536], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(1 << 30)
	for b.Loop() {
		ds, err := Build(context.Background(), dir, BuildOptions{Outboard: new(discard)})
		if err != nil || ds.Length != dssn.GiB {
			b.Fatal(ds, err)
		}
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
