package report

import (
	"fmt"
	"math"
	"slices"
)

// Check reports, in one sentence, the first thing that a result cannot say.
func (r *Result) Check() error {
	switch {
	case r.Format != Format:
		return fmt.Errorf("its format is %q, not %q", r.Format, Format)
	case r.Kind == "":
		return fmt.Errorf("it does not say what kind of measurement it is")
	case len(r.Command) == 0:
		return fmt.Errorf("it does not say by which command it was made")
	case r.At.IsZero() || r.At.Year() < 1970 || r.At.Year() > 9999:
		return fmt.Errorf("it does not say when it was made")
	case !finite(r.Seconds) || r.Seconds < 0:
		return fmt.Errorf("it took %g seconds, which cannot be", r.Seconds)
	case r.Verdict != nil && !r.Verdict.Pass && r.Verdict.Why == "":
		return fmt.Errorf("its verdict is negative without a reason")
	}
	for _, n := range []int{len(r.Ends), len(r.Settings), len(r.Metrics), len(r.Counts), len(r.Series), len(r.Distributions), len(r.Curves), len(r.Tables), len(r.Limits), len(r.Warnings), len(r.Signatures)} {
		if n > MaxItems {
			return fmt.Errorf("it has %d things of a kind: at most %d are read", n, MaxItems)
		}
	}
	return r.checkValues()
}

func (r *Result) checkValues() error {
	names := map[string]bool{}
	once := func(kind, name string) error {
		key := kind + " " + name
		if name == "" {
			return fmt.Errorf("a %s has no name", kind)
		}
		if names[key] {
			return fmt.Errorf("two of its %s entries are named %q", kind, name)
		}
		names[key] = true
		return nil
	}
	for _, m := range r.Metrics {
		if err := first(once("metrics", m.Name), m.Unit.check(m.Name), m.Better.check(m.Name), values(m.Name, m.Samples)); err != nil {
			return err
		}
		if len(m.Samples) == 0 {
			return fmt.Errorf("%q has no samples", m.Name)
		}
	}
	for _, c := range r.Counts {
		if err := first(once("counts", c.Name), c.Better.check(c.Name)); err != nil {
			return err
		}
		if c.Of != 0 && c.Count > c.Of {
			return fmt.Errorf("%q counts %d of %d", c.Name, c.Count, c.Of)
		}
	}
	for _, s := range r.Series {
		if err := first(once("series", s.Name), s.Unit.check(s.Name), points(s.Name, s.Points)); err != nil {
			return err
		}
	}
	for _, c := range r.Curves {
		if err := first(once("curves", c.Name), c.X.Unit.check(c.Name), c.Y.Unit.check(c.Name), points(c.Name, c.Points)); err != nil {
			return err
		}
	}
	for _, d := range r.Distributions {
		if err := first(once("distributions", d.Name), d.check()); err != nil {
			return err
		}
	}
	for _, l := range r.Limits {
		if err := first(once("limits", l.Name), l.Unit.check(l.Name), values(l.Name, []float64{l.Value})); err != nil {
			return err
		}
		if !l.OK && l.Why == "" {
			return fmt.Errorf("the limit %q bent the result without saying why", l.Name)
		}
	}
	for _, t := range r.Tables {
		for i, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("row %d of the table %q has %d cells for %d columns", i, t.Title, len(row), len(t.Columns))
			}
		}
	}
	return nil
}

func (d Distribution) check() error {
	if err := first(d.Unit.check(d.Name), values(d.Name, []float64{d.Min, d.Max, d.Mean}), points(d.Name, d.Percentiles), points(d.Name, d.Buckets)); err != nil {
		return err
	}
	last := math.Inf(-1)
	for _, p := range d.Percentiles {
		if p[0] < 0 || p[0] > 100 {
			return fmt.Errorf("%q has a percentile %g", d.Name, p[0])
		}
		if p[1] < last {
			return fmt.Errorf("the percentiles of %q fall from %g to %g", d.Name, last, p[1])
		}
		last = p[1]
	}
	n := 0.0
	for _, b := range d.Buckets {
		if b[1] < 0 || b[1] != math.Trunc(b[1]) {
			return fmt.Errorf("a bucket of %q holds %g values", d.Name, b[1])
		}
		n += b[1]
	}
	if d.Buckets != nil && n != float64(d.Count) {
		return fmt.Errorf("the buckets of %q hold %g values, not %d", d.Name, n, d.Count)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (u Unit) check(name string) error {
	if !slices.Contains(Units, u) {
		return fmt.Errorf("%q has the unknown unit %q", name, string(u))
	}
	return nil
}

func (b Better) check(name string) error {
	if b != "" && b != Higher && b != Lower {
		return fmt.Errorf("%q is better %q, which is not a direction", name, string(b))
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func values(name string, list []float64) error {
	if len(list) > MaxPoints {
		return fmt.Errorf("%q has %d values: at most %d are read", name, len(list), MaxPoints)
	}
	for _, v := range list {
		if !finite(v) {
			return fmt.Errorf("%q has a value that is not a number", name)
		}
	}
	return nil
}

// points must be finite and ascend.
func points(name string, list [][2]float64) error {
	if len(list) > MaxPoints {
		return fmt.Errorf("%q has %d points: at most %d are read", name, len(list), MaxPoints)
	}
	for i, p := range list {
		if !finite(p[0]) || !finite(p[1]) {
			return fmt.Errorf("%q has a point that is not a number", name)
		}
		if i > 0 && p[0] < list[i-1][0] {
			return fmt.Errorf("the points of %q go back from %g to %g", name, list[i-1][0], p[0])
		}
	}
	return nil
}
