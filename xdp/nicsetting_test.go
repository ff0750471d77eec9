package xdp_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// TestApplyChangesANICAndRevertBringsBackWhatWas uses a veth with more queues than any
// host has CPUs, whose sender leaves checksums to its far end.
func TestApplyChangesANICAndRevertBringsBackWhatWas(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0", "numrxqueues", "1024", "numtxqueues", "1024")
	examine := func() (list []xdp.Finding) {
		a.Do(t, func() (err error) { list, err = xdp.Examine("a0"); return err })
		// What belongs to the whole host is not this test's to change.
		return slices.DeleteFunc(list, func(f xdp.Finding) bool {
			return f.Change != nil && strings.HasPrefix(f.Change.Setting, "/")
		})
	}
	of := func(list []xdp.Finding, about string) xdp.Finding {
		i := slices.IndexFunc(list, func(f xdp.Finding) bool { return f.About == about })
		if i < 0 {
			t.Fatalf("nothing was found about %s", about)
		}
		return list[i]
	}
	before := examine()
	for _, about := range []string{"queues", "tx checksums"} {
		if of(before, about).Change == nil {
			t.Fatalf("%s: nothing to change: %+v", about, of(before, about))
		}
	}
	var remembered [][]xdp.Change
	var done []xdp.Change
	a.Do(t, func() (err error) {
		done, err = xdp.Apply("a0", before, func(c []xdp.Change) error { remembered = append(remembered, c); return nil })
		return err
	})
	if len(done) != 2 || len(remembered) != 2 || !slices.Equal(remembered[1], done) {
		t.Fatalf("made the changes %+v, remembering %+v", done, remembered)
	}
	after := examine()
	for _, f := range after {
		if f.Change != nil {
			t.Errorf("%s should still be changed: %+v", f.About, f)
		}
	}
	a.Do(t, func() error { return xdp.Revert("a0", done) })
	again := examine()
	for _, about := range []string{"queues", "tx checksums"} {
		was, is := of(before, about), of(again, about)
		if was.Found != is.Found || is.Change == nil || *was.Change != *is.Change {
			t.Errorf("%s was %+v and is %+v", about, was, is)
		}
	}
}

func TestApplyChangesNothingThatCannotBeRemembered(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	full := errors.New("the disk is full")
	a.Do(t, func() error {
		list, err := xdp.Examine("a0")
		if err != nil {
			return err
		}
		done, err := xdp.Apply("a0", list, func([]xdp.Change) error { return full })
		if len(done) != 0 || !errors.Is(err, full) {
			t.Errorf("made %+v, and said %v", done, err)
		}
		return nil
	})
}

func TestADriverThatRefusesIsNamed(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	a.Do(t, func() error {
		for _, c := range []xdp.Change{
			{About: "spread", Setting: "spread", Is: "0 1 0 1"},
			{About: "UDP hash", Setting: "udp6-hash", Is: "240"},
			{About: "queues", Setting: "channels", Is: "1 2"},
			{About: "other", Setting: "/etc/passwd", Is: ""},
			{About: "other", Setting: "colour", Is: "3"},
		} {
			_, err := xdp.Apply("a0", []xdp.Finding{{About: c.About, Change: &c}}, func([]xdp.Change) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.About+" of a0") {
				t.Errorf("%+v: said %v", c, err)
			}
		}
		return nil
	})
}
