package dssn

import (
	"slices"
	"testing"
)

func TestCarrierShiftsSIDBySIDToTheEgress(t *testing.T) {
	want := []SID{0x11, 0x12, 0x21, 0xffff, 1, 0xabc}
	c, err := NewCarrier(LabBlock, want...)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.String(); got != "5f00:d55:11:12:21:ffff:1:abc" {
		t.Errorf("carrier = %s", got)
	}
	for i := range want {
		if got := c.SIDs(); !slices.Equal(got, want[i:]) {
			t.Fatalf("after %d shifts: %v, want %v", i, got, want[i:])
		}
		if i == len(want)-1 {
			if c.Addr() != want[i].Node(LabBlock) {
				t.Errorf("the last carrier is %v, want the egress's own address %v", c, want[i].Node(LabBlock))
			}
			if _, ok := c.Shift(); ok {
				t.Error("the last SID was shifted away")
			}
			break
		}
		if !want[i].Locator(LabBlock).Contains(c.Addr()) {
			t.Errorf("%v is not reached by the locator of %v", c, want[i])
		}
		c, _ = c.Shift()
	}
}

func TestCarrierRefusesWhatItCannotHold(t *testing.T) {
	for _, sids := range [][]SID{nil, {1, 2, 3, 4, 5, 6, 7}, {1, 0, 2}} {
		if c, err := NewCarrier(LabBlock, sids...); err == nil {
			t.Errorf("NewCarrier(%v) = %v, want an error", sids, c)
		}
	}
	for _, s := range []string{"", "5f00:d55::", "5f00:d55:1:0:2::", "10.0.0.1", "5f00:d55:1::%eth0"} {
		if c, err := ParseCarrier(s); err == nil {
			t.Errorf("ParseCarrier(%q) = %v, want an error", s, c)
		}
	}
}

func FuzzParseCarrier(f *testing.F) {
	f.Add("5f00:d55:11:12:21::")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCarrier(s)
		if err != nil {
			return
		}
		sids := c.SIDs()
		for n := len(sids); ; n-- {
			next, ok := c.Shift()
			if !ok {
				if n != 1 {
					t.Fatalf("%q arrived with %d SIDs left", s, n)
				}
				return
			}
			c = next
		}
	})
}
