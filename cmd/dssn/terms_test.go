package main

import (
	"testing"
)

func TestAWindowIsReadAsPeopleWriteIt(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"08:00-18:00", "daily 08:00-18:00 UTC"},
		{"daily 08:00-24:00 Asia/Shanghai", "daily 08:00-24:00 Asia/Shanghai"},
		{"mon-fri 20:00-06:00 Asia/Shanghai", "mon,tue,wed,thu,fri 20:00-06:00 Asia/Shanghai"},
		{"sat-mon,wed 08:00-09:00", "sat,sun,mon,wed 08:00-09:00 UTC"},
		{"nightly 08:00-09:00", ""},
		{"8-9", ""},
		{"mon 08:00", ""},
		{"", ""},
	} {
		w, err := parseWindow(c.in)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%q was read as %v", c.in, w)
		case c.want != "" && (err != nil || w.String() != c.want):
			t.Errorf("%q is %v (error %v), want %s", c.in, w, err, c.want)
		}
	}
}
