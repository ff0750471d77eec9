package lab

import (
	"testing"
	"time"
)

func TestResumedFindsTheFirstArrivalAfterTheSilence(t *testing.T) {
	t0 := time.Unix(1000, 0)
	ms := func(n float64) time.Time { return t0.Add(time.Duration(n * float64(time.Millisecond))) }
	for name, c := range map[string]struct {
		arrivals []float64 // milliseconds after the cut
		want     resumption
		ok       bool
	}{
		"in flight, then silence": {[]float64{-2, -1, 0.5, 1, 41, 42, 43}, resumption{41 * time.Millisecond, 40 * time.Millisecond}, true},
		"no silence":              {[]float64{-2, -1, 1, 2, 3}, resumption{1 * time.Millisecond, 2 * time.Millisecond}, true},
		"earlier silence":         {[]float64{-500, -1, 1, 6, 7}, resumption{6 * time.Millisecond, 5 * time.Millisecond}, true},
		"never again":             {[]float64{-2, -1}, resumption{}, false},
		"a later silence":         {[]float64{-1, 3, 60, 61, 900}, resumption{60 * time.Millisecond, 57 * time.Millisecond}, true},
		"a much later silence":    {[]float64{-1, 3, 30, 49, 62, 70, 900}, resumption{30 * time.Millisecond, 27 * time.Millisecond}, true},
	} {
		var samples []sample
		for i, a := range c.arrivals {
			samples = append(samples, sample{ms(a), uint64(i)})
		}
		if got, ok := resumed(samples, t0); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestReceivedBytesReadsTheKernelsTable(t *testing.T) {
	const text = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs\n    lo:  120       2    0\n dssn0: 98765432101 7 0 0\n"
	if v, err := receivedBytes([]byte(text), "dssn0"); err != nil || v != 98765432101 {
		t.Errorf("dssn0: %d, %v", v, err)
	}
	if _, err := receivedBytes([]byte(text), "dssn"); err == nil {
		t.Error("an interface was found that is not there")
	}
}
