package solve

// sample draws about n demands, each with a chance in proportion to its mass, and
// gives those drawn the mass of the others too, so that every link's expected load
// is unchanged. Demands above the mean step are all kept as they are. The draw is
// systematic and needs no random numbers.
func sample(w *workload, n int) *workload {
	total := 0.0
	for _, m := range w.mass {
		total += m
	}
	step := total / float64(n)
	out := &workload{}
	carry := step / 2
	for k, s := range w.sources {
		begun := false
		for d := w.from[k]; d < w.from[k+1]; d++ {
			m := w.mass[d]
			if m < step {
				if carry += m; carry < step {
					continue
				}
				carry -= step
				m = step
			}
			if !begun {
				begun = true
				out.sources = append(out.sources, s)
				out.from = append(out.from, int32(len(out.of)))
			}
			out.of, out.src, out.dst = append(out.of, w.of[d]), append(out.src, w.src[d]), append(out.dst, w.dst[d])
			out.mass = append(out.mass, m)
			if w.bound != nil {
				out.bound = append(out.bound, w.bound[d])
			}
		}
	}
	out.from = append(out.from, int32(len(out.of)))
	return out
}
