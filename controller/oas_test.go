package controller_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A small judge of JSON values by the schemas of an OpenAPI 3.0 document: as
// much of JSON Schema as CAMARA's definitions use. It is the slow twin of the
// checks in controller/northbound/camara.

// oas is an OpenAPI document as YAML or JSON gives it.
type oas map[string]any

// at returns what a JSON pointer leads to, with or without its "#".
func (o oas) at(pointer string) any {
	var v any = map[string]any(o)
	for _, p := range strings.Split(strings.TrimPrefix(strings.TrimPrefix(pointer, "#"), "/"), "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")]
	}
	return v
}

// judge returns what is wrong with v by the schema that pointer leads to.
func (o oas) judge(pointer string, v any) error {
	s, ok := o.at(pointer).(map[string]any)
	if !ok {
		return fmt.Errorf("there is no schema %s", pointer)
	}
	return o.fits("$", s, v)
}

func (o oas) fits(at string, s map[string]any, v any) error {
	if ref, ok := s["$ref"].(string); ok {
		r, ok := o.at(ref).(map[string]any)
		if !ok {
			return fmt.Errorf("there is no schema %s", ref)
		}
		return o.fits(at, r, v)
	}
	for _, a := range list(s["allOf"]) {
		if err := o.fits(at, a.(map[string]any), v); err != nil {
			return err
		}
	}
	if d, ok := s["discriminator"].(map[string]any); ok {
		if err := o.discriminated(at, s, d, v); err != nil {
			return err
		}
	}
	if alternatives := list(s["anyOf"]); alternatives != nil {
		ok := false
		for _, a := range alternatives {
			ok = ok || o.fits(at, a.(map[string]any), v) == nil
		}
		if !ok {
			return fmt.Errorf("%s fits none of its alternatives", at)
		}
	}
	if enum := list(s["enum"]); enum != nil {
		ok := false
		for _, e := range enum {
			ok = ok || fmt.Sprint(e) == fmt.Sprint(v)
		}
		if !ok {
			return fmt.Errorf("%s is %v, which is none of %v", at, v, enum)
		}
	}
	switch v := v.(type) {
	case nil:
		if !typed(s, "null") {
			return fmt.Errorf("%s is null", at)
		}
	case map[string]any:
		return o.fitsObject(at, s, v)
	case []any:
		if !typed(s, "array") {
			return fmt.Errorf("%s is an array, not %v", at, s["type"])
		}
		if n, ok := number(s["minItems"]); ok && float64(len(v)) < n {
			return fmt.Errorf("%s has %d items, less than %v", at, len(v), n)
		}
		items, _ := s["items"].(map[string]any)
		for i, e := range v {
			if err := o.fits(fmt.Sprintf("%s[%d]", at, i), items, e); err != nil {
				return err
			}
		}
	case string:
		return fitsString(at, s, v)
	case float64:
		return fitsNumber(at, s, v)
	case bool:
		if !typed(s, "boolean") {
			return fmt.Errorf("%s is a boolean, not %v", at, s["type"])
		}
	}
	return nil
}

// discriminated follows a discriminator, unless s is reached from what it leads to.
func (o oas) discriminated(at string, s, d map[string]any, v any) error {
	m, _ := v.(map[string]any)
	name, _ := m[fmt.Sprint(d["propertyName"])].(string)
	ref, _ := d["mapping"].(map[string]any)[name].(string)
	if ref == "" {
		return nil
	}
	to, _ := o.at(ref).(map[string]any)
	for _, a := range list(to["allOf"]) {
		if a := a.(map[string]any); a["$ref"] == nil {
			if err := o.fits(at, a, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o oas) fitsObject(at string, s map[string]any, v map[string]any) error {
	if !typed(s, "object") {
		return fmt.Errorf("%s is an object, not %v", at, s["type"])
	}
	for _, r := range list(s["required"]) {
		if _, ok := v[r.(string)]; !ok {
			return fmt.Errorf("%s.%v is missing", at, r)
		}
	}
	if n, ok := number(s["minProperties"]); ok && float64(len(v)) < n {
		return fmt.Errorf("%s has %d properties, less than %v", at, len(v), n)
	}
	if n, ok := number(s["maxProperties"]); ok && float64(len(v)) > n {
		return fmt.Errorf("%s has %d properties, more than %v", at, len(v), n)
	}
	ps, _ := s["properties"].(map[string]any)
	for name := range v {
		if s["additionalProperties"] == false && ps[name] == nil {
			return fmt.Errorf("%s.%s is not described", at, name)
		}
	}
	for name, p := range ps {
		if e, ok := v[name]; ok {
			if err := o.fits(at+"."+name, p.(map[string]any), e); err != nil {
				return err
			}
		}
	}
	return nil
}

func fitsString(at string, s map[string]any, v string) error {
	if !typed(s, "string") {
		return fmt.Errorf("%s is a string, not %v", at, s["type"])
	}
	if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(strings.ReplaceAll(p, "9-_", `9\-_`)).MatchString(v) {
		return fmt.Errorf("%s is %q, which does not match %s", at, v, p)
	}
	if n, ok := number(s["minLength"]); ok && float64(len(v)) < n {
		return fmt.Errorf("%s is shorter than %v", at, n)
	}
	if n, ok := number(s["maxLength"]); ok && float64(len(v)) > n {
		return fmt.Errorf("%s is longer than %v", at, n)
	}
	var err error
	switch s["format"] {
	case "date-time":
		_, err = time.Parse(time.RFC3339, v)
	case "uuid":
		if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(v) {
			err = fmt.Errorf("it is no UUID")
		}
	case "ipv4", "ipv6":
		var a netip.Addr
		if a, err = netip.ParseAddr(v); err == nil && a.Is4() != (s["format"] == "ipv4") {
			err = fmt.Errorf("it is of the other family")
		}
	}
	if err != nil {
		return fmt.Errorf("%s is %q: %w", at, v, err)
	}
	return nil
}

func fitsNumber(at string, s map[string]any, v float64) error {
	if !typed(s, "number") && (!typed(s, "integer") || v != math.Trunc(v)) {
		return fmt.Errorf("%s is %v, not %v", at, v, s["type"])
	}
	if n, ok := number(s["minimum"]); ok && v < n {
		return fmt.Errorf("%s is %v, less than %v", at, v, n)
	}
	if n, ok := number(s["maximum"]); ok && v > n {
		return fmt.Errorf("%s is %v, more than %v", at, v, n)
	}
	if s["format"] == "int32" && v > math.MaxInt32 {
		return fmt.Errorf("%s is %v, more than 32 bits", at, v)
	}
	return nil
}

// typed reports whether a schema allows a type: by name, by a list of names (as
// OpenAPI 3.1 has them), or by saying nothing.
func typed(s map[string]any, name string) bool {
	switch t := s["type"].(type) {
	case nil:
		return name != "null" || len(s) == 0
	case string:
		return t == name
	case []any:
		return slices.Contains(t, any(name))
	}
	return false
}

func list(v any) []any { l, _ := v.([]any); return l }

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// plain turns v into what JSON makes of it.
func plain(v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}
