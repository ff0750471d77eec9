package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"dssn/node"
)

// Remove takes away everything of the lab called id: its programs, namespaces,
// state and data. It needs nothing but the name, so it also removes what a
// killed lab left behind; removing what is not there is no error. In the
// namespaces' processes it finds also those that nobody recorded.
func Remove(id string) error {
	if err := CheckID(id); err != nil {
		return err
	}
	var r record
	readRecord(filepath.Join(stateDir(id), "lab.json"), &r) // without it the name alone is used
	spaces, err := namespaces(namespacePrefix(id))
	if err != nil {
		return err
	}
	var errs []error
	errs = append(errs, endProcesses(id, spaces), removeTransit(id))
	for _, s := range spaces {
		errs = append(errs, removeNamespace(s))
	}
	data := dataDir(id)
	if r.Data != "" && filepath.Base(r.Data) == filepath.Base(data) {
		data = r.Data
	}
	errs = append(errs, os.RemoveAll(data), os.RemoveAll(stateDir(id)), removeRoot())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove lab %s: %w", id, err)
	}
	return nil
}

// removeRoot removes the folder of all labs if there is none.
func removeRoot() error {
	if err := os.Remove(stateRoot); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// removeTransit ends the transit programs that nodes pin so that they go on without
// them.
func removeTransit(id string) error {
	dirs, err := filepath.Glob(filepath.Join(stateDir(id), "nodes", "*", "node.json"))
	errs := []error{err}
	for _, file := range dirs {
		_, err := node.RemoveTransit(filepath.Dir(file))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// RemoveOrphans removes the labs whose owner has been killed, and returns their names.
func RemoveOrphans() (removed []string, err error) {
	labs, err := List()
	if err != nil {
		return nil, err
	}
	for _, s := range labs {
		if s.State == "orphaned" {
			if err := Remove(s.ID); err != nil {
				return removed, err
			}
			removed = append(removed, s.ID)
		}
	}
	return removed, removeRoot() // one killed before it had a lab leaves just that
}

func dataDir(id string) string { return filepath.Join(os.TempDir(), "dssn-lab-"+id) }

// patience is how long programs may take to end by themselves.
const patience = 3 * time.Second

// endProcesses ends what runs in the namespaces and what the lab recorded.
func endProcesses(id string, spaces []string) error {
	victims := insideProcesses(spaces)
	for _, p := range recordedProcesses(id) {
		victims[p.instance] = true
	}
	delete(victims, thisProcess())
	for _, round := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, patience}, {syscall.SIGKILL, patience}} {
		for v := range victims {
			if v.alive() {
				syscall.Kill(v.PID, round.signal)
			}
		}
		for end := time.Now().Add(round.wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			for v := range victims {
				if !v.alive() {
					delete(victims, v)
				}
			}
			if len(victims) == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%d programs did not end", len(victims))
}

// insideProcesses finds the processes whose network namespace is one of these.
func insideProcesses(spaces []string) map[instance]bool {
	found, wanted := map[instance]bool{}, map[uint64]bool{}
	for _, s := range spaces {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(namespaceDir, s), &st) == nil {
			wanted[st.Ino] = true
		}
	}
	list, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) != nil || !wanted[st.Ino] {
			continue
		}
		if start, err := startTime(pid); err == nil {
			found[instance{pid, start}] = true
		}
	}
	return found
}

// removeNamespace removes the name; the namespace ends with its last process.
func removeNamespace(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // a name whose mount never happened
		err = os.Remove(filepath.Join(namespaceDir, name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

func isExist(err error) bool { return errors.Is(err, unix.EEXIST) }
