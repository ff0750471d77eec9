// Warm starts: an earlier answer's prices and paths, none of it trusted.

package solve

// addWarmPaths gives demands the paths that they had before, where these are
// still usable.
func (s *descent) addWarmPaths(in *Instance) {
	e, warm := s.e, s.o.Warm
	place := make([]int32, in.Demands.Len())
	for k, i := range e.work.of {
		place[i] = int32(k)
	}
	for _, f := range warm.Flows {
		i := f.Demand
		if s.o.WarmDemand != nil {
			if i < 0 || int(i) >= len(s.o.WarmDemand) {
				continue
			}
			i = s.o.WarmDemand[i]
		}
		if i < 0 || int(i) >= len(place) {
			continue
		}
		d := place[i]
		if e.store.head[d] >= 0 && e.usable(d, f.Path) && e.store.find(d, f.Path) < 0 {
			e.store.add(d, f.Path)
		}
	}
}

// usable reports whether the links are a path of demand d that may be used.
func (e *engine) usable(d int32, path []int32) bool { return usable(e.net, e.work, d, path) }

func usable(n *net, w *workload, d int32, path []int32) bool {
	at, micros := w.src[d], int64(0)
	for _, l := range path {
		if l < 0 || int(l) >= n.links || n.src[l] != at || n.capacity[l] == 0 {
			return false
		}
		at = n.dst[l]
		micros += n.micros[l]
	}
	return at == w.dst[d] && len(path) < n.nodes && (w.bound == nil || micros <= w.bound[d])
}
