package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateRoot holds one directory per lab:
//
//	lab.json          what the lab is (type record)
//	topology.json     as it was given
//	processes/NAME    one record per program started (type processRecord)
//	logs/NAME.log     what that program wrote
//	nodes/NODE/       the state directory of the node's or controller's program
const stateRoot = "/run/dssn-lab"

func stateDir(id string) string { return filepath.Join(stateRoot, id) }

// record is lab.json.
type record struct {
	Plan     *Plan    `json:"plan"`
	Topology string   `json:"topology"` // its name
	Data     string   `json:"data"`     // folder for bulk data, outside of /run
	Owner    instance `json:"owner"`    // the process without which the lab shall not stand; zero if it may
}

// instance is one process for certain: process numbers are used again, but not
// with the same start time.
type instance struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

// thisProcess is the calling process.
func thisProcess() instance {
	s, _ := startTime(os.Getpid())
	return instance{os.Getpid(), s}
}

// alive reports whether the process still runs.
func (i instance) alive() bool {
	s, err := startTime(i.PID)
	return err == nil && i.PID != 0 && s == i.Start
}

// startTime reads field 22 of /proc/PID/stat; a process that has ended and
// waits for its parent (state Z) counts as gone.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ") // the name may hold anything but ends here
	for {
		_, more, again := strings.Cut(rest, ") ")
		if !again {
			break
		}
		rest = more
	}
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return 0, fmt.Errorf("read the start time of process %d: unexpected text", pid)
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// writeRecord writes v whole or not at all.
func writeRecord(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readRecord(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// Status is one lab, as `dssn lab list` shows it.
type Status struct {
	ID         string `json:"id"`
	State      string `json:"state"` // kept, running (by another process) or orphaned
	Topology   string `json:"topology"`
	Namespaces int    `json:"namespaces"`
	Processes  int    `json:"processes"` // alive
}

// List finds every lab of this machine, also those of which only namespaces
// are left.
func List() ([]Status, error) {
	ids := map[string]bool{}
	dirs, err := os.ReadDir(stateRoot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var order []string
	note := func(id string) {
		if CheckID(id) == nil && !ids[id] {
			ids[id] = true
			order = append(order, id)
		}
	}
	for _, d := range dirs {
		note(d.Name())
	}
	spaces, err := namespaces("dssn-")
	if err != nil {
		return nil, err
	}
	for _, s := range spaces {
		id, _, ok := strings.Cut(strings.TrimPrefix(s, "dssn-"), "-")
		if ok && fromLab(s) {
			note(id)
		}
	}
	var out []Status
	for _, id := range order {
		s := Status{ID: id, State: "orphaned"}
		var r record
		if readRecord(filepath.Join(stateDir(id), "lab.json"), &r) == nil {
			s.Topology = r.Topology
			switch {
			case r.Owner == instance{}:
				s.State = "kept"
			case r.Owner.alive():
				s.State = "running"
			}
		}
		if list, err := namespaces(namespacePrefix(id)); err == nil {
			s.Namespaces = len(list)
		}
		for _, p := range recordedProcesses(id) {
			if p.alive() {
				s.Processes++
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// fromLab tells a lab's namespace from others whose names begin alike: every
// lab has a switch.
func fromLab(namespace string) bool {
	id, _, _ := strings.Cut(strings.TrimPrefix(namespace, "dssn-"), "-")
	_, err := os.Stat(filepath.Join(namespaceDir, namespacePrefix(id)+string(RoleSwitch)))
	return err == nil
}
