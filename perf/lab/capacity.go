package lab

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

// What one node costs, measured on eight hubs: its program's resident memory
// with its namespace, and how many programs two cores keep lively.
const (
	memoryPerNode = 48 * dssn.MiB
	nodesPerCore  = 40
)

// carries refuses a lab that this machine cannot carry, before anything is made.
func carries(nodes int) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a lab makes network namespaces, which needs root: run it with sudo")
	}
	free, err := availableMemory()
	if err != nil {
		return err
	}
	most := min(int(free/memoryPerNode), nodesPerCore*runtime.NumCPU())
	if nodes > most {
		return fmt.Errorf("the lab would have %d nodes, and this machine (%d cores, %s of memory free) carries %d: choose a smaller topology or a larger machine",
			nodes, runtime.NumCPU(), free, most)
	}
	return nil
}

func availableMemory() (dssn.ByteCount, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("find out how much memory is free: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kb, err := strconv.ParseUint(f[1], 10, 54)
			return dssn.ByteCount(kb) * dssn.KiB, err
		}
	}
	return 0, fmt.Errorf("find out how much memory is free: /proc/meminfo does not say")
}

// hasSpace refuses a data folder without room for need bytes.
func hasSpace(dir string, need dssn.ByteCount) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the free space of %s: %w", dir, err)
	}
	if free := dssn.ByteCount(st.Bavail) * dssn.ByteCount(st.Bsize); free < need {
		return fmt.Errorf("%s has %s free and the run needs %s: set TMPDIR to a larger disk or choose a smaller --size", dir, free, need)
	}
	return nil
}

// Farthest returns the names of the two nodes whose shortest path has the most
// latency; among equals the first by index.
func Farthest(g *topology.Graph) (a, b string, err error) {
	worst := time.Duration(-1)
	for dst := range g.NumNodes() {
		for src := range dst {
			p, e := paths.Shortest(g, src, dst, paths.Constraint{})
			if e != nil {
				return "", "", fmt.Errorf("the topology is not connected: %w", e)
			}
			if d := p.Latency(g); d > worst {
				worst, a, b = d, g.Node(src).Name, g.Node(dst).Name
			}
		}
	}
	if worst < 0 {
		return "", "", fmt.Errorf("the topology has a single node: a transfer needs two")
	}
	return a, b, nil
}
