package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/content"
)

// output is the folder that a Get writes into. All paths go through os.Root,
// so no link inside the folder leads a file out of it.
type output struct {
	dir  string
	root *os.Root
	lock *os.File // the .dssn folder, locked against another Get
}

func openOutput(dir string) (*output, error) {
	bad := func(err error) error {
		return fmt.Errorf("write into the folder %s: %w; choose another with -o", dir, pathError(err))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, bad(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, bad(err)
	}
	o := &output{dir: dir, root: root}
	if err := root.Mkdir(content.ReservedName, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		root.Close()
		return nil, bad(err)
	}
	if o.lock, err = root.Open(content.ReservedName); err != nil {
		root.Close()
		return nil, bad(err)
	}
	if err := unix.Flock(int(o.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		o.close()
		return nil, fmt.Errorf("another get is writing into %s: wait for it or choose another folder with -o", dir)
	}
	return o, nil
}

// close leaves everything as it is, except an empty .dssn folder.
func (o *output) close() {
	o.root.Remove(content.ReservedName) // fails unless empty
	o.lock.Close()
	o.root.Close()
}

// finish removes the journal.
func (o *output) finish(id dssn.DataID) { o.root.Remove(journalName(id)) }

// matches hashes a file that stands under its final name.
func (o *output) matches(ctx context.Context, f *file) (bool, error) {
	in, err := o.root.Open(f.Path)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path.Join(o.dir, f.Path), pathError(err))
	}
	defer in.Close()
	root, err := content.Root(contextReader{ctx, in})
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path.Join(o.dir, f.Path), err)
	}
	return root == f.Root, nil
}

// checkSpace compares what is still to be allocated with what the disk has.
func (o *output) checkSpace(files []*file) error {
	var need int64
	for _, f := range files {
		if f.whole {
			continue
		}
		if fi, err := o.root.Lstat(f.part); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				need -= min(st.Blocks*512, int64(f.Size))
			}
		}
		need += int64(f.Size)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(o.lock.Fd()), &fs); err == nil {
		if free := int64(fs.Bavail) * fs.Frsize; need > free {
			return fmt.Errorf("the dataset needs %s and the disk at %s has %s left: free some or choose another folder with -o",
				dssn.ByteCount(need), o.dir, dssn.ByteCount(free))
		}
	}
	return nil
}

// makeRoom allocates every part, and removes the ones that it made if the disk
// is full all the same.
func (o *output) makeRoom(files []*file) error {
	var made []string
	for _, f := range files {
		if f.whole {
			continue
		}
		fresh, err := o.allocate(f)
		if fresh {
			made = append(made, f.part)
		}
		if err != nil {
			for _, p := range made {
				o.root.Remove(p)
			}
			return fullDisk(o.dir, err)
		}
	}
	return nil
}

// allocate makes f's part with all its blocks; fresh says that it was not there.
func (o *output) allocate(f *file) (fresh bool, err error) {
	if dir := path.Dir(f.Path); dir != "." {
		if err := o.root.MkdirAll(dir, 0o755); err != nil {
			return false, fmt.Errorf("make the folder %s: %w", path.Join(o.dir, dir), pathError(err))
		}
	}
	_, err = o.root.Lstat(f.part)
	fresh = err != nil
	p, err := o.root.OpenFile(f.part, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return false, fmt.Errorf("make %s: %w", path.Join(o.dir, f.part), pathError(err))
	}
	defer p.Close()
	if f.have.total() == 0 {
		if err := p.Truncate(0); err != nil {
			return fresh, fmt.Errorf("empty %s: %w", path.Join(o.dir, f.part), pathError(err))
		}
	}
	if f.Size > 0 {
		err = unix.Fallocate(int(p.Fd()), 0, 0, int64(f.Size))
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			err = p.Truncate(int64(f.Size))
		}
	}
	if err != nil {
		return fresh, fmt.Errorf("make room for %s: %w", path.Join(o.dir, f.part), pathError(err))
	}
	return fresh, nil
}

// complete gives a whole file its name.
func (o *output) complete(f *file) error {
	if err := o.root.Rename(f.part, f.Path); err != nil {
		return fmt.Errorf("name %s: %w", path.Join(o.dir, f.Path), err)
	}
	return nil
}

// fullDisk turns "no space" into a sentence with a next step.
func fullDisk(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the disk at %s is full (%w): free some space, or choose another folder with -o", dir, err)
	}
	return err
}
