package lab

import (
	"os"
	"path/filepath"
	"testing"

	"dssn"
)

func TestDatasetHasItsSizeAndIsTheSameForASeed(t *testing.T) {
	for _, total := range []dssn.ByteCount{1, 2, 999, 16385, 3 * dssn.MiB, 3*dssn.MiB + 1, dssn.GiB} {
		sum, names := dssn.ByteCount(0), map[string]bool{}
		for _, f := range layout(total) {
			sum += f.size
			if names[f.path] {
				t.Errorf("%s twice", f.path)
			}
			names[f.path] = true
		}
		if sum != total {
			t.Errorf("a dataset of %d bytes has %d", total, sum)
		}
	}
	dirs := [3]string{t.TempDir(), t.TempDir(), t.TempDir()}
	for i, seed := range []uint64{1, 1, 2} {
		if _, err := makeDataset(dirs[i], 3*dssn.MiB, seed); err != nil {
			t.Fatal(err)
		}
	}
	if _, n, err := sameTree(dirs[0], dirs[1]); err != nil || n != 3*dssn.MiB {
		t.Errorf("same seed: %d bytes, %v", n, err)
	}
	if _, _, err := sameTree(dirs[0], dirs[2]); err == nil {
		t.Error("datasets of two seeds are the same")
	}
}

func TestSameTreeSeesEveryDifference(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a byte changed": func(d string) error {
			p := filepath.Join(d, "forecast/level-0.grib2")
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[len(b)-1] ^= 1
			return os.WriteFile(p, b, 0o644)
		},
		"a file shorter": func(d string) error { return os.Truncate(filepath.Join(d, "readme.txt"), 0) },
		"a file missing": func(d string) error { return os.Remove(filepath.Join(d, "forecast/empty.flag")) },
		"a file more":    func(d string) error { return os.WriteFile(filepath.Join(d, "more"), nil, 0o644) },
	} {
		a, b := t.TempDir(), t.TempDir()
		for _, d := range []string{a, b} {
			if _, err := makeDataset(d, 100_000, 7); err != nil {
				t.Fatal(err)
			}
		}
		if err := spoil(b); err != nil {
			t.Fatal(err)
		}
		if _, _, err := sameTree(a, b); err == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}
