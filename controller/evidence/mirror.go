package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// Dir reads what a log serves from a directory that Mirror made: for VerifyLog.
func Dir(dir string) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s lacks %s: fetch the log again with `dssn evidence fetch`", dir, path)
		}
		return b, err
	}
}

// Mirror copies what a log serves into a directory and checks it on the way: all
// entries and hashes, and that the log continues the one that is there already.
// The checkpoint is replaced last, so that a copy that was interrupted, or
// refused, is still the old one.
func Mirror(policy Policy, fetch func(path string) ([]byte, error), dir string) (*Checked, error) {
	older, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the checkpoint that is there: %w", err)
	}
	write := func(path string, b []byte) error {
		p := filepath.Join(dir, filepath.FromSlash(path))
		if old, err := os.ReadFile(p); err == nil && bytes.Equal(old, b) {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p+".part", b, 0o644); err != nil {
			return err
		}
		return os.Rename(p+".part", p)
	}
	var hashes []tlog.Hash // as stored, from the entries: no tile is believed
	stored := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, _ error) {
		for _, i := range at {
			if i >= int64(len(hashes)) {
				return nil, fmt.Errorf("hash %d is not known yet", i)
			}
			out = append(out, hashes[i])
		}
		return out, nil
	})
	got, err := VerifyLog(policy, older, func(path string) ([]byte, error) {
		b, err := fetch(path)
		if err == nil && path != "checkpoint" {
			err = write(path, b)
		}
		return b, err
	}, func(n int64, leaf []byte) error {
		more, err := tlog.StoredHashes(n, leaf, stored)
		hashes = append(hashes, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, t := range tlog.NewTiles(tileHeight, 0, got.Size) {
		b, err := tlog.ReadTileData(t, stored)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", t.Path(), err)
		}
		if err := write("tile/"+t.Path()[len("tile/8/"):], b); err != nil {
			return nil, fmt.Errorf("write the copy: %w", err)
		}
	}
	if err := write("checkpoint", got.Checkpoint); err != nil {
		return nil, fmt.Errorf("write the copy: %w", err)
	}
	return got, nil
}
