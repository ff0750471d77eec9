package content

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dssn"
)

func testManifest() *Manifest {
	return &Manifest{Files: []File{
		{Path: "2024/01.nc", Size: 1 << 20, Root: Hash([]byte("january"))},
		{Path: "2024/a file with spaces", Size: 0, Root: Hash()},
		{Path: "README", Size: 12, Root: Hash([]byte("readme"))},
		{Path: "大小", Size: 1<<62 + 1, Root: Hash([]byte("size"))},
	}}
}

func TestManifestKeepsItsBytes(t *testing.T) {
	got, err := testManifest().AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/manifest.txt"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
	m, err := ParseManifest(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testManifest(), m); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestManifestThatLeadsOutOfItsFolderIsRefused(t *testing.T) {
	for _, path := range []string{"", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "a//b", "a/", "./a",
		`..\x`, "a\x00b", "a\nb", ".dssn", ".dssn/record", strings.Repeat("a", 256), strings.Repeat("a/", 600) + "a", "\xff", "a\u202eb"} {
		m := &Manifest{Files: []File{{Path: path}}}
		if _, err := m.AppendText(nil); err == nil {
			t.Errorf("%q: written", path)
		}
		text := manifestHead + Digest(Hash()).String() + " 0 " + path + "\n"
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("%q: read", path)
		}
	}
	for _, path := range []string{"a", "..a", "a..", "a/.dssn", ".dssn2", "...", " a ", "-rf", "~"} {
		if err := CheckPath(path); err != nil {
			t.Error(err)
		}
	}
}

func TestManifestRefusesEveryOtherWayToWriteIt(t *testing.T) {
	good, err := testManifest().AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	root := Digest(Hash()).String()
	for what, text := range map[string]string{
		"empty":             "",
		"no files":          manifestHead,
		"version 2":         strings.Replace(string(good), "manifest 1", "manifest 2", 1),
		"no last line feed": string(good[:len(good)-1]),
		"line feed more":    string(good) + "\n",
		"CRLF":              strings.ReplaceAll(string(good), "\n", "\r\n"),
		"capital digits":    manifestHead + strings.ToUpper(root) + " 0 a\n",
		"leading zero":      manifestHead + root + " 00 a\n",
		"plus":              manifestHead + root + " +1 a\n",
		"negative":          manifestHead + root + " -1 a\n",
		"size beyond files": manifestHead + root + " 9223372036854775808 a\n",
		"sum beyond files":  manifestHead + root + " 9223372036854775807 a\n" + root + " 1 b\n",
		"unsorted":          manifestHead + root + " 0 b\n" + root + " 0 a\n",
		"twice":             manifestHead + root + " 0 a\n" + root + " 0 a\n",
		"file and folder":   manifestHead + root + " 0 a\n" + root + " 0 a!\n" + root + " 0 a/b\n",
		"no path":           manifestHead + root + " 0\n",
		"short root":        manifestHead + root[1:] + " 0 a\n",
	} {
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := ParseManifest(good); err != nil {
		t.Error(err)
	}
}

func TestFindIsExact(t *testing.T) {
	m := testManifest()
	for i, f := range m.Files {
		if j, ok := m.Find(f.Path); !ok || j != i {
			t.Errorf("Find(%q) = %d, %v", f.Path, j, ok)
		}
	}
	if _, ok := m.Find("2024"); ok {
		t.Error("found a folder")
	}
	if m.Length() != dssn.ByteCount(1<<62+1+1<<20+12) {
		t.Errorf("length %d", m.Length())
	}
}

func FuzzManifest(f *testing.F) {
	good, err := testManifest().AppendText(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		again, err := m.AppendText(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q printed back as %q, %v", b, again, err)
		}
	})
}
