package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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
