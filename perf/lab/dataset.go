package lab

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"dssn"
)

// Dataset is a generated folder of files, the same for the same seed and size.
type Dataset struct {
	Files int            `json:"files"`
	Bytes dssn.ByteCount `json:"bytes"`
	Seed  uint64         `json:"seed"`
}

// file is one file of a dataset to be.
type file struct {
	path string
	size dssn.ByteCount
}

// layout divides total bytes over files as a weather model's output might be:
// a few large ones, many small ones in folders, an empty one, sizes that are no
// multiple of anything, names that need care. The first file, small enough for
// a stock client to fetch beside the rest, is an eighth of a percent.
func layout(total dssn.ByteCount) []file {
	files := []file{
		{"readme.txt", min(total, max(total/800, 1))},
		{"forecast/empty.flag", 0},
		{"forecast/2026-11-24 06h/winds 风.bin", 1},
	}
	left := total - files[0].size
	if left == 0 {
		return files[:2]
	}
	left--
	for i := 0; i < 24 && left > 1000; i++ { // small ones
		n := total/5000 + dssn.ByteCount(i*i*37)
		n = min(n, left/2)
		files = append(files, file{fmt.Sprintf("observations/station-%03d.csv", i), n})
		left -= n
	}
	for i := 0; left > 0; i++ { // then each takes half of what is left
		n := left/2 + 1
		if i == 5 || n > left {
			n = left
		}
		files = append(files, file{fmt.Sprintf("forecast/level-%d.grib2", i), n})
		left -= n
	}
	return files
}

// makeDataset writes the dataset into dir, which is made.
func makeDataset(dir string, total dssn.ByteCount, seed uint64) (Dataset, error) {
	d := Dataset{Bytes: total, Seed: seed}
	buf := make([]byte, 1<<20)
	for i, f := range layout(total) {
		p := filepath.Join(dir, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return d, fmt.Errorf("make dataset: %w", err)
		}
		var key [32]byte
		binary.LittleEndian.PutUint64(key[:], seed)
		binary.LittleEndian.PutUint64(key[8:], uint64(i))
		if err := writeRandom(p, f.size, rand.NewChaCha8(key), buf); err != nil {
			return d, fmt.Errorf("make dataset: %w", err)
		}
		d.Files++
	}
	return d, nil
}

func writeRandom(path string, size dssn.ByteCount, r io.Reader, buf []byte) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	for size > 0 {
		n := min(size, dssn.ByteCount(len(buf)))
		r.Read(buf[:n]) // ChaCha8 fills the buffer and never fails
		if _, err := out.Write(buf[:n]); err != nil {
			out.Close()
			return err
		}
		size -= n
	}
	return out.Close()
}

// sameTree compares two folders byte by byte, by nothing but reading them, and
// returns the SHA-256 over names, sizes and bytes of what both hold. It is the
// lab's own judgement, independent of every hash of the product.
func sameTree(a, b string) (digest [32]byte, total dssn.ByteCount, err error) {
	h := sha256.New()
	seen := 0
	err = filepath.WalkDir(a, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(a, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d:%s\n", len(rel), filepath.ToSlash(rel))
		n, err := sameFile(p, filepath.Join(b, rel), h)
		total += n
		seen++
		return err
	})
	if err != nil {
		return digest, total, err
	}
	more := 0
	err = filepath.WalkDir(b, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			more++
		}
		return err
	})
	if err == nil && more != seen {
		err = fmt.Errorf("%s holds %d files and %s %d", a, seen, b, more)
	}
	h.Sum(digest[:0])
	return digest, total, err
}

func sameFile(a, b string, sum io.Writer) (n dssn.ByteCount, err error) {
	fa, err := os.Open(a)
	if err != nil {
		return 0, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return 0, err
	}
	defer fb.Close()
	var ba, bb [256 << 10]byte
	for {
		na, ea := io.ReadFull(fa, ba[:])
		nb, eb := io.ReadFull(fb, bb[:])
		if !bytes.Equal(ba[:na], bb[:nb]) {
			return n, fmt.Errorf("%s and %s differ after byte %d", a, b, n)
		}
		n += dssn.ByteCount(na)
		sum.Write(ba[:na])
		if ea != nil || eb != nil {
			if atEnd(ea) && atEnd(eb) {
				return n, nil
			}
			return n, errors.Join(ea, eb)
		}
	}
}

func atEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
