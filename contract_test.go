package dssn

import (
	"bytes"
	"encoding"
	"testing"
)

func TestReservationIDNeverDrawsZero(t *testing.T) {
	id, err := NewReservationID(bytes.NewReader(append(make([]byte, 8), 0, 0, 0, 0, 0, 0, 0, 9)))
	if err != nil || id != 9 {
		t.Errorf("got %v, %v, want r-…9", id, err)
	}
	if _, err := NewReservationID(bytes.NewReader(nil)); err == nil {
		t.Error("an empty source of randomness was accepted")
	}
}

func TestEveryWordReadsBackWhatItPrints(t *testing.T) {
	roundTrip := func(in encoding.TextMarshaler, out encoding.TextUnmarshaler, same func() bool) {
		t.Helper()
		b, err := in.MarshalText()
		if err == nil {
			err = out.UnmarshalText(b)
		}
		if err != nil || !same() {
			t.Errorf("%v → %q → %v, %v", in, b, out, err)
		}
	}
	for c := ClassBackground; c <= ClassAssured; c++ {
		var got Class
		roundTrip(c, &got, func() bool { return got == c })
	}
	for e := ExcessDrop; e <= ExcessBestEffort; e++ {
		var got Excess
		roundTrip(e, &got, func() bool { return got == e })
	}
	for c := CategoryCrossSector; c <= CategoryPrivate; c++ {
		var got Category
		roundTrip(c, &got, func() bool { return got == c })
	}
	for g := Grade(0); g < 16; g++ {
		if g.Valid() {
			var got Grade
			roundTrip(g, &got, func() bool { return got == g })
		}
	}
	r := ReservationID(0xfeed)
	var got ReservationID
	roundTrip(r, &got, func() bool { return got == r })
	for _, s := range []string{"r-", "feed", "r-0000000000000000", "r-feed", "r-zzzzzzzzzzzzzzzz"} {
		if _, err := ParseReservationID(s); err == nil {
			t.Errorf("ParseReservationID(%q) accepted", s)
		}
	}
	for _, s := range []string{"gold", "", "Assured"} {
		if _, err := ParseClass(s); err == nil {
			t.Errorf("ParseClass(%q) accepted", s)
		}
	}
}
