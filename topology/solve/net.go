// The engine's own picture of an instance: flat arrays in the order it walks them.

package solve

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"dssn/topology"
)

// net is the usable part of a graph.
type net struct {
	nodes, links int
	outAt        []int32 // usable links leaving u: arcs[outAt[u]:outAt[u+1]]
	arcs         []arc
	src, dst     []int32   // by link
	capacity     []float64 // by link, 0 where the link is not usable
	micros       []int64   // latency by link
	tie          []float64 // a hair of price by link, so that equal prices go the faster way
}

type arc struct{ link, dst int32 }

// hair is the largest sum of tie prices over a path: far below any price that
// matters, far above the rounding of sums of prices.
const hair = 1e-7

func newNet(g *topology.Graph) *net {
	links := g.Links()
	n := &net{nodes: g.NumNodes(), links: len(links), outAt: make([]int32, g.NumNodes()+1),
		src: make([]int32, len(links)), dst: make([]int32, len(links)), capacity: make([]float64, len(links)),
		micros: make([]int64, len(links)), tie: make([]float64, len(links))}
	var longest int64 = 1
	for i := range links {
		longest = max(longest, links[i].LatencyMicros)
	}
	unit := hair / float64(n.nodes) / (1 + 1)
	for i := range links {
		l := &links[i]
		n.src[i], n.dst[i], n.micros[i] = int32(l.Src), int32(l.Dst), l.LatencyMicros
		n.tie[i] = unit * (float64(l.LatencyMicros)/float64(longest) + 1e-3)
		if l.Usable() {
			n.capacity[i] = float64(l.Capacity)
		}
	}
	for u := range n.nodes {
		for _, e := range g.Out(u) {
			if links[e].Usable() {
				n.arcs = append(n.arcs, arc{e, int32(links[e].Dst)})
			}
		}
		n.outAt[u+1] = int32(len(n.arcs))
	}
	return n
}

// workload is the demands, sorted by source.
type workload struct {
	of      []int32 // index in the instance
	src     []int32
	dst     []int32
	mass    []float64 // what is to be carried; the objective decides its unit
	bound   []int64   // latency bounds, nil where there are none
	from    []int32   // demands of the k-th source: from[k] to from[k+1]
	sources []int32   // the k-th source's node
}

func newWorkload(d *Demands, mass func(i int) float64) *workload {
	w := &workload{of: make([]int32, d.Len())}
	sorted := true
	for i := range w.of {
		w.of[i] = int32(i)
		sorted = sorted && (i == 0 || d.Src[i-1] <= d.Src[i])
	}
	if !sorted {
		slices.SortStableFunc(w.of, func(a, b int32) int { return int(d.Src[a]) - int(d.Src[b]) })
	}
	w.src, w.dst = make([]int32, len(w.of)), make([]int32, len(w.of))
	w.mass = make([]float64, len(w.of))
	if d.MaxLatencyMicros != nil {
		w.bound = make([]int64, len(w.of))
	}
	for k, i := range w.of {
		w.src[k], w.dst[k], w.mass[k] = d.Src[i], d.Dst[i], mass(int(i))
		if w.bound != nil {
			w.bound[k] = d.MaxLatencyMicros[i]
		}
		if k == 0 || w.src[k-1] != w.src[k] {
			w.sources = append(w.sources, w.src[k])
			w.from = append(w.from, int32(k))
		}
	}
	w.from = append(w.from, int32(len(w.of)))
	return w
}

// workers is how many goroutines share a computation.
func workers() int { return min(runtime.GOMAXPROCS(0), 16) }

// inParallel calls f(worker, i) for every i below n. Each worker number is used by
// one goroutine at a time.
func inParallel(n, workers int, f func(worker, i int)) {
	if workers <= 1 || n <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(w, i)
			}
		})
	}
	wg.Wait()
}
