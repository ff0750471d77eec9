package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// Bounds on what is read: absurd sizes are refused before memory is asked for.
const (
	MaxFileBytes = 64 << 20
	MaxPoints    = 1 << 20 // of one series, curve, distribution or list of samples
	MaxItems     = 4096    // metrics, series, tables, … of a kind
)

// ReadFile reads and checks a result file, or the result in a page that HTML wrote.
func ReadFile(path string) (*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the result: %w; name a file that a `dssn perf` command wrote", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the result %s: %w", path, err)
	}
	r, err := Read(inPage(text))
	if err != nil {
		return nil, fmt.Errorf("%s is not a result that can be used: %w", path, err)
	}
	return r, nil
}

// inPage finds the result that a page made by HTML contains; any other text is
// returned as it is.
func inPage(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("<!doctype html>")) {
		return text
	}
	_, rest, ok := bytes.Cut(text, []byte(`<script type="application/json" id="result">`))
	inside, _, end := bytes.Cut(rest, []byte("</script>"))
	if !ok || !end {
		return text
	}
	return inside
}

// Read reads a result and checks it (not its signatures: Verify does). What was
// accepted is written back as the same value: unknown members, members spelled
// in other letters, repeated ones and empty ones that should be absent are
// refused by one sentence.
func Read(text []byte) (*Result, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxFileBytes)
	}
	given, err := parse(text)
	if err != nil {
		return nil, err
	}
	o, ok := given.(object)
	if !ok {
		return nil, fmt.Errorf("it is not a JSON object")
	}
	if i := slices.IndexFunc(o, func(m member) bool { return m.name == "format" }); i < 0 {
		return nil, fmt.Errorf("it has no format: a file of %q is needed", Format)
	} else if o[i].value != Format {
		return nil, fmt.Errorf("its format is %q: this program reads %q", fmt.Sprint(o[i].value), Format)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := new(Result)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("it is not %s: %w", Format, err)
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	again, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("it cannot be written back: %w", err)
	}
	back, err := parse(again)
	if err != nil {
		return nil, fmt.Errorf("it cannot be written back: %w", err)
	}
	if where := difference("", given, back); where != "" {
		return nil, fmt.Errorf("%s is not written as %s writes it (unknown, empty or misspelt)", where, Format)
	}
	return r, nil
}

// difference names the first place where two values are not the same.
func difference(at string, a, b any) string {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		if !ok {
			return at
		}
		for _, m := range a {
			i := slices.IndexFunc(b, func(n member) bool { return n.name == m.name })
			if i < 0 {
				return at + "/" + m.name
			}
			if d := difference(at+"/"+m.name, m.value, b[i].value); d != "" {
				return d
			}
		}
		if len(a) != len(b) {
			return at + "/"
		}
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return at
		}
		for i := range a {
			if d := difference(fmt.Sprintf("%s/%d", at, i), a[i], b[i]); d != "" {
				return d
			}
		}
	default:
		if a != b {
			return at
		}
	}
	return ""
}

// Write writes the result, indented, after checking it.
func Write(w io.Writer, r *Result) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// WriteFile writes the result to a new file, whole or not at all.
func WriteFile(path string, r *Result) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("write the result: %w; choose another place", err)
	}
	err = Write(f, r)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
	}
	return err
}

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
