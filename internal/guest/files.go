package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// archive is the guest's first file system.
type archive struct {
	names []string
	files map[string][]byte
}

func (a *archive) add(name string, content []byte) {
	if a.files == nil {
		a.files = map[string][]byte{}
	}
	if a.files[name] == nil {
		a.names = append(a.names, name)
	}
	a.files[name] = content
}

// copy adds a file of the host.
func (a *archive) copy(t *testing.T, name, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a.add(name, content)
}

// libraries are what ldd says a program loads, the loader among them.
var libraries = regexp.MustCompile(`(?m)(?:=> )?(/\S+) \(0x`)

// program adds a program to /bin, and its libraries where it looks for them.
func (a *archive) program(t *testing.T, path string) {
	t.Helper()
	a.copy(t, "bin/"+filepath.Base(path), path)
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return // linked statically
	}
	for _, m := range libraries.FindAllStringSubmatch(string(out), -1) {
		a.copy(t, strings.TrimPrefix(m[1], "/"), m[1])
	}
}

// cpio packs the files as the kernel unpacks an initial file system ("newc").
func (a *archive) cpio() []byte {
	var b bytes.Buffer
	inode := 0
	made := map[string]bool{".": true}
	put := func(name string, mode uint32, content []byte) {
		inode++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, (4-b.Len()%4)%4))
		b.Write(content)
		b.Write(make([]byte, (4-b.Len()%4)%4))
	}
	var folder func(name string)
	folder = func(name string) {
		if made[name] {
			return
		}
		folder(filepath.Dir(name))
		made[name] = true
		put(name, 0o040755, nil)
	}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "bin", "modules", "var/run/wireguard"} {
		folder(d)
	}
	for _, name := range a.names {
		folder(filepath.Dir(name))
		put(name, 0o100755, a.files[name])
	}
	put("TRAILER!!!", 0, nil)
	return b.Bytes()
}

type module struct {
	name    string
	content []byte
}

// modules reads the named kernel modules under root, those that one needs before it.
func modules(t *testing.T, root string, names []string) (order []module) {
	t.Helper()
	done := map[string]bool{}
	var load func(name string)
	load = func(name string) {
		if done[name] {
			return
		}
		done[name] = true
		path := find(root, func(file string) bool { return strings.ReplaceAll(file, "-", "_") == name+".ko.xz" })
		out, err := exec.Command("xz", "-dc", path).Output()
		if err != nil {
			t.Fatalf("unpacking the module %s (%q): %v", name, path, err)
		}
		f, err := elf.NewFile(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("reading the module %s: %v", name, err)
		}
		if s := f.Section(".modinfo"); s != nil {
			info, _ := s.Data()
			for _, word := range strings.Split(string(info), "\x00") {
				if list, ok := strings.CutPrefix(word, "depends="); ok && list != "" {
					for _, d := range strings.Split(list, ",") {
						load(strings.ReplaceAll(d, "-", "_"))
					}
				}
			}
		}
		order = append(order, module{name, out})
	}
	for _, n := range names {
		load(n)
	}
	return order
}

// find returns the first file under root whose name is wanted, "" if there is none.
func find(root string, wanted func(name string) bool) (found string) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && wanted(d.Name()) {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found
}
