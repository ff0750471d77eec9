// Package strictjson reads the exchange formats of the topology room: JSON in
// which a duplicate key, an unknown key, a fraction where an integer belongs or
// anything after the value is refused, by a sentence that names the element.
//
// It is a pull parser on a byte slice: the caller says what it expects next and
// no intermediate tree is built, so half a million demands are read in a
// fraction of a second. It is not a general JSON library: text must be UTF-8,
// nesting is whatever the caller asks for. A Reader belongs to one goroutine.
package strictjson

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Reader stands at a position in a JSON text. The first error sticks: every
// later call fails with it.
type Reader struct {
	b   []byte
	at  int
	err error
}

// New returns a Reader at the start of text, which it borrows until it is done.
func New(text []byte) *Reader { return &Reader{b: text} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail records an error unless there is one already, and returns the first.
func (r *Reader) Fail(format string, a ...any) error {
	if r.err == nil {
		r.err = fmt.Errorf(format, a...)
	}
	return r.err
}

// End demands that nothing but space follows.
func (r *Reader) End() error {
	r.space()
	if r.err == nil && r.at < len(r.b) {
		r.Fail("more text follows the closing bracket at byte %d", r.at)
	}
	return r.err
}

// Peek returns the first byte of the next value, or 0 at the end.
func (r *Reader) Peek() byte {
	r.space()
	if r.err != nil || r.at >= len(r.b) {
		return 0
	}
	return r.b[r.at]
}

// Object reads {...} and calls field for each key, which must read the value.
// what names the object in errors.
func (r *Reader) Object(what string, field func(key string) error) error {
	if !r.take('{') {
		return r.Fail("%s is not an object", what)
	}
	if r.Peek() == '}' {
		r.at++
		return r.err
	}
	var seen [16]string // small objects, so a scan beats a map
	keys := seen[:0]
	for r.err == nil {
		key := r.String("key in " + what)
		if r.err == nil && !r.take(':') {
			r.Fail("%s: no colon after key %q", what, key)
		}
		if r.err != nil {
			return r.err
		}
		for _, k := range keys {
			if k == key {
				return r.Fail("%s has key %q twice", what, key)
			}
		}
		if keys = append(keys, key); len(keys) > 64 {
			return r.Fail("%s has more than 64 keys", what)
		}
		if err := field(key); err != nil {
			return r.Fail("%w", err)
		}
		switch {
		case r.take(','):
		case r.take('}'):
			return r.err
		default:
			return r.Fail("%s: a comma or closing brace is missing at byte %d", what, r.at)
		}
	}
	return r.err
}

// Array reads [...] and calls item for each element, which must read it.
func (r *Reader) Array(what string, item func(i int) error) error {
	if !r.take('[') {
		return r.Fail("%s is not a list", what)
	}
	if r.Peek() == ']' {
		r.at++
		return r.err
	}
	for i := 0; r.err == nil; i++ {
		if err := item(i); err != nil {
			return r.Fail("%w", err)
		}
		switch {
		case r.take(','):
		case r.take(']'):
			return r.err
		default:
			return r.Fail("%s: a comma or closing bracket is missing at byte %d", what, r.at)
		}
	}
	return r.err
}

// Unknown refuses key.
func (r *Reader) Unknown(what, key string) error {
	return r.Fail("%s has an unknown field %q", what, key)
}

// String reads a string.
func (r *Reader) String(what string) string {
	if !r.take('"') {
		r.Fail("%s is not text", what)
		return ""
	}
	start := r.at
	for r.at < len(r.b) {
		switch c := r.b[r.at]; {
		case c == '"':
			s := r.b[start:r.at]
			r.at++
			if !utf8.Valid(s) {
				r.Fail("%s is not valid UTF-8", what)
			}
			return string(s)
		case c == '\\':
			return r.escaped(what, start)
		case c < 0x20:
			r.Fail("%s holds a control character", what)
			return ""
		default:
			r.at++
		}
	}
	r.Fail("%s: the text is not closed", what)
	return ""
}

// escaped finishes a string that has a backslash at r.at.
func (r *Reader) escaped(what string, start int) string {
	for end := r.at; end < len(r.b); end++ {
		switch r.b[end] {
		case '\\':
			end++
		case '"':
			s, ok := unescape(r.b[start:end])
			if !ok {
				r.Fail("%s has a bad escape", what)
			}
			r.at = end + 1
			return s
		}
	}
	r.Fail("%s: the text is not closed", what)
	return ""
}

func unescape(s []byte) (string, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			if s[i] < 0x20 {
				return "", false
			}
			out = append(out, s[i])
			continue
		}
		if i++; i >= len(s) {
			return "", false
		}
		switch s[i] {
		case '"', '\\', '/':
			out = append(out, s[i])
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			hi, ok := hex4(s, i+1)
			if !ok {
				return "", false
			}
			i += 4
			if hi >= 0xd800 && hi < 0xdc00 { // a surrogate pair makes one character
				lo, ok := hex4(s, i+3)
				if !ok || s[i+1] != '\\' || s[i+2] != 'u' || lo < 0xdc00 || lo > 0xdfff {
					return "", false
				}
				hi = (hi-0xd800)<<10 + (lo - 0xdc00) + 0x10000
				i += 6
			}
			if !utf8.ValidRune(hi) {
				return "", false
			}
			out = utf8.AppendRune(out, hi)
		default:
			return "", false
		}
	}
	return string(out), utf8.Valid(out)
}

func hex4(s []byte, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s[i:i+4]), 16, 16)
	return rune(v), err == nil
}

// Int reads an integer, without fraction or exponent, that fits 64 bits.
func (r *Reader) Int(what string) int64 {
	t, whole := r.number()
	if !whole {
		r.Fail("%s is not an integer", what)
		return 0
	}
	// The common case by hand: half a million demands have three integers each.
	if len(t) <= 18 {
		var v int64
		neg := t[0] == '-'
		for _, c := range t {
			if c != '-' {
				v = v*10 + int64(c-'0')
			}
		}
		if neg {
			v = -v
		}
		return v
	}
	v, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil {
		r.Fail("%s is too large: %s", what, t)
	}
	return v
}

// Float reads a finite number.
func (r *Reader) Float(what string) float64 {
	t, whole := r.number()
	if t == nil {
		r.Fail("%s is not a number", what)
		return 0
	}
	if whole && len(t) <= 15 {
		var v int64
		for _, c := range t {
			if c != '-' {
				v = v*10 + int64(c-'0')
			}
		}
		if t[0] == '-' {
			v = -v
		}
		return float64(v)
	}
	v, err := strconv.ParseFloat(string(t), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsInf(v, 0) {
		r.Fail("%s is not a finite number: %s", what, t)
	}
	return v
}

// Bool reads true or false.
func (r *Reader) Bool(what string) bool {
	switch {
	case r.literal("true"):
		return true
	case r.literal("false"):
		return false
	}
	r.Fail("%s is not true or false", what)
	return false
}

// Null reads null if it is next.
func (r *Reader) Null() bool { return r.literal("null") }

func (r *Reader) literal(s string) bool {
	r.space()
	if r.err != nil || len(r.b)-r.at < len(s) || string(r.b[r.at:r.at+len(s)]) != s {
		return false
	}
	r.at += len(s)
	return true
}

// number consumes a number by the JSON grammar; whole says that it has neither
// fraction nor exponent. It returns nil where there is none.
func (r *Reader) number() (text []byte, whole bool) {
	r.space()
	if r.err != nil {
		return nil, false
	}
	i := r.at
	if i < len(r.b) && r.b[i] == '-' {
		i++
	}
	first := i
	for i < len(r.b) && isDigit(r.b[i]) {
		i++
	}
	if i == first || r.b[first] == '0' && i-first > 1 {
		return nil, false
	}
	whole = true
	if i < len(r.b) && r.b[i] == '.' {
		whole = false
		i++
		frac := i
		for i < len(r.b) && isDigit(r.b[i]) {
			i++
		}
		if i == frac {
			return nil, false
		}
	}
	if i < len(r.b) && (r.b[i] == 'e' || r.b[i] == 'E') {
		whole = false
		i++
		if i < len(r.b) && (r.b[i] == '+' || r.b[i] == '-') {
			i++
		}
		exp := i
		for i < len(r.b) && isDigit(r.b[i]) {
			i++
		}
		if i == exp {
			return nil, false
		}
	}
	text = r.b[r.at:i]
	r.at = i
	return text, whole
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (r *Reader) take(c byte) bool {
	r.space()
	if r.err != nil || r.at >= len(r.b) || r.b[r.at] != c {
		return false
	}
	r.at++
	return true
}

func (r *Reader) space() {
	for r.at < len(r.b) {
		switch r.b[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}
