package xdp

// How transit outlives the process. In the folder of a BPF file system there are
// the maps, by name, and one link for each interface, link-<index>-<place>. The
// links hold the program; the program holds the maps.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// RemoveTransit ends the transit pinned in dir and removes dir. There being none
// is no error.
func RemoveTransit(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("looking for pinned transit: %w", err)
	}
	var errs []error
	// Attachments first: no frame shall meet half a set of tables.
	for _, links := range []bool{true, false} {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), linkPrefix) != links {
				continue
			}
			path := filepath.Join(dir, e.Name())
			if links {
				errs = append(errs, detachPinned(path))
			}
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

// detachPinned takes a program off its interface now; unpinning alone would do so a
// moment later. One whose interface is gone is off already.
func detachPinned(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return explain("ending "+path, err)
	}
	defer l.Close()
	if err := l.Detach(); err != nil && !errors.Is(err, syscall.ENOLINK) && !errors.Is(err, ebpf.ErrNotSupported) {
		return explain("ending "+path, err)
	}
	return nil
}

const linkPrefix = "link-"

// linkPath is where an attachment is pinned; its name tells the interface and the
// place where the program runs.
func (t *Transit) linkPath(ifindex int, mode AttachMode) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s%d-%s", linkPrefix, ifindex, mode))
}

// pinnedMaps opens the maps in dir that the program can go on with. A map of an
// older, different shape is unpinned: the transit at work keeps it until its
// program is replaced.
func pinnedMaps(dir string, spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	kept := make(map[string]*ebpf.Map)
	if dir == "" {
		return kept, nil
	}
	for name, ms := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue // constants belong to one program
		}
		path := filepath.Join(dir, name)
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return kept, explain("adopting "+path, err)
		}
		if ms.Compatible(m) != nil {
			m.Close()
			if err := os.Remove(path); err != nil {
				return kept, fmt.Errorf("replacing an outdated table: %w", err)
			}
			continue
		}
		kept[name] = m
	}
	return kept, nil
}

// pin pins the maps that are not pinned yet.
func (t *Transit) pin() error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return fmt.Errorf("making %s for pinned transit: %w", t.dir, err)
	}
	o := &t.objects
	for name, m := range map[string]*ebpf.Map{
		bpf.TransitMapAdjacencies: o.Adjacencies, bpf.TransitMapEdgeSockets: o.EdgeSockets,
		bpf.TransitMapGuard: o.Guard, bpf.TransitMapIngress: o.Ingress, bpf.TransitMapMeters: o.Meters, bpf.TransitMapPorts: o.Ports,
		bpf.TransitMapRoutes: o.Routes, bpf.TransitMapSidTallies: o.SidTallies,
		bpf.TransitMapUsage: o.Usage, bpf.TransitMapVerdicts: o.Verdicts,
	} {
		path := filepath.Join(t.dir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := m.Pin(path); err != nil {
			if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("pinning transit in %s: it is no BPF file system: mount one with `mount -t bpf bpf /sys/fs/bpf`: %w", t.dir, err)
			}
			return explain("pinning transit in "+t.dir, err)
		}
	}
	return nil
}

// recall reads back what the process before this one had written.
func (t *Transit) recall() error {
	var key, ifindex uint32
	for it := t.objects.Ports.Iterate(); it.Next(&key, &ifindex); {
		if ifindex != 0 {
			t.ports[int(ifindex)] = key
		}
	}
	byPort := make(map[uint32]int, len(t.ports))
	for i, p := range t.ports {
		byPort[p] = i
	}
	var v bpf.TransitTransitAdjacency
	for it := t.objects.Adjacencies.Iterate(); it.Next(&key, &v); {
		if v.Mtu == 0 {
			continue
		}
		if i, ok := byPort[v.Port]; ok {
			t.adjacencies[Adjacency{Ifindex: i, To: v.Dst, From: v.Src, VLAN: bigEndian16(v.Vlan), MTU: v.Mtu}] = &hop{key, v.Port, v.Down}
			if v.Down&downLink != 0 {
				t.linksDown[i] = true
			}
		}
	}
	if err := t.recallMeters(); err != nil {
		return err
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("adopting transit: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), linkPrefix)
		number, place, _ := strings.Cut(name, "-")
		i, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		l, err := link.LoadPinnedLink(filepath.Join(t.dir, e.Name()), nil)
		if err != nil {
			return explain("adopting "+e.Name(), err)
		}
		t.links[i], t.modes[i] = l, AttachNative
		if place == AttachGeneric.String() {
			t.modes[i] = AttachGeneric
		}
	}
	return nil
}
