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
func (e *engine) usable(d int32, path []int32) bool {
	at, micros := e.work.src[d], int64(0)
	for _, l := range path {
		if l < 0 || int(l) >= e.net.links || e.net.src[l] != at || e.net.capacity[l] == 0 {
			return false
		}
		at = e.net.dst[l]
		micros += e.net.micros[l]
	}
	return at == e.work.dst[d] && len(path) < e.net.nodes && (e.work.bound == nil || micros <= e.work.bound[d])
}
