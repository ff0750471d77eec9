package report

import (
	"math"
	"strconv"
	"strings"
)

// Show writes a value for people, with the multiple that suits it: 2.35 Gbit/s,
// 120 µs, 0.12 %.
func (u Unit) Show(v float64) string {
	switch u {
	case Ratio:
		return digits(v*100) + " %"
	case Seconds:
		return scaled(v, []string{"s", "ms", "µs", "ns"}, 1e-3)
	case BitsPerSecond:
		return scaled(v, []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"}, 1e3)
	case PacketsPerSecond:
		return scaled(v, []string{"packets/s", "kpps", "Mpps"}, 1e3)
	case Bytes:
		return scaled(v, []string{"B", "kB", "MB", "GB", "TB"}, 1e3)
	case Plain:
		return digits(v)
	}
	return digits(v) + " " + string(u)
}

// scaled divides by step while the number stays at least 1 (step > 1), or while
// it is below 1 (step < 1).
func scaled(v float64, names []string, step float64) string {
	i := 0
	for i+1 < len(names) && v != 0 && (step > 1 && math.Abs(v) >= step || step < 1 && math.Abs(v) < 1) {
		v /= step
		i++
	}
	return digits(v) + " " + names[i]
}

// digits keeps four significant ones, and whole numbers whole.
func digits(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	s := strconv.FormatFloat(v, 'g', 4, 64)
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) >= 1e-4 && math.Abs(f) < 1e15 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strings.TrimSuffix(s, ".0")
}
