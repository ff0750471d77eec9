package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of values that are read.
const maxDepth = 64

// Canonical returns the one sequence of bytes that stands for a JSON value: RFC
// 8785, JSON Canonicalization Scheme. Members are sorted by the UTF-16 units of
// their names, numbers are written as ECMAScript writes them, nothing is escaped
// that need not be, and there is no space. A repeated member, a number that a
// double does not hold exactly as an integer, invalid UTF-8 and nesting deeper
// than 64 are refused.
func Canonical(text []byte) ([]byte, error) {
	v, err := parse(text)
	if err != nil {
		return nil, err
	}
	return appendCanonical(nil, v), nil
}

// member and object keep what encoding/json's maps would lose: that a name was
// repeated.
type member struct {
	name  string
	value any
}
type object []member

// parse reads one JSON value: nil, bool, float64, string, []any or object.
func parse(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("the text is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("something follows the end of the value")
		}
	}
	return v, err
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			list := []any{}
			for d.More() {
				v, err := parseValue(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		return parseObject(d, depth)
	case json.Number:
		return parseNumber(string(t))
	}
	return t, nil
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	o, seen := object{}, map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("it is not JSON: %w", err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("it is not JSON: a member has no name")
		}
		if seen[name] {
			return nil, fmt.Errorf("the member %q stands twice", name)
		}
		seen[name] = true
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, v})
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	return o, nil
}

// parseNumber refuses integers that would lose digits, because a signature
// would not cover those.
func parseNumber(s string) (any, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("the number %.40s is out of range", s)
	}
	if !strings.ContainsAny(s, ".eE") && math.Abs(f) > 1<<53 {
		return nil, fmt.Errorf("the integer %.40s is greater than 2^53: write it as a string", s)
	}
	return f, nil
}

func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		return appendNumber(b, v)
	case string:
		return appendString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, e)
		}
		return append(b, ']')
	case object:
		sorted := slices.Clone(v)
		slices.SortFunc(sorted, func(x, y member) int {
			return slices.Compare(utf16.Encode([]rune(x.name)), utf16.Encode([]rune(y.name)))
		})
		b = append(b, '{')
		for i, m := range sorted {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, m.name), ':')
			b = appendCanonical(b, m.value)
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("report: %T is no JSON value", v))
}

// appendNumber writes f as ECMAScript's Number::toString (ECMA-262 section
// 6.1.6.1.20) does: the shortest digits that give f back, plain from 1e-6 to 1e21.
func appendNumber(b []byte, f float64) []byte {
	if f == 0 {
		return append(b, '0') // also for -0
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	s := strconv.AppendFloat(nil, f, 'e', -1, 64)
	// Go writes two digits of exponent at least; ECMAScript one.
	if i := bytes.IndexByte(s, 'e'); len(s) == i+4 && s[i+2] == '0' {
		s[i+2] = s[i+3]
		s = s[:i+3]
	}
	return append(b, s...)
}

// appendString escapes only what RFC 8785 section 3.2.2.2 names.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
