package wire

import (
	"strings"
	"testing"
	"time"

	"dssn"
)

func TestParseReadsEverySetting(t *testing.T) {
	got, err := Parse("rate=1G,overhead=24 queue=64KiB/100p delay=10ms jitter=2ms law=normal order=free loss=0.1% burst=0.1%/25% burst-loss=50% reorder=1%/2ms duplicate=0.2% corrupt=0.01% mtu=1400 seed=7 line=down")
	want := Settings{Rate: dssn.Gbps, Overhead: 24, QueueBytes: 64 * dssn.KiB, QueuePackets: 100, Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond,
		Law: Normal, Free: true, Loss: 0.001, Enter: 0.001, Leave: 0.25, BurstLoss: 0.5, Reorder: 0.01, ReorderBy: 2 * time.Millisecond,
		Duplicate: 0.002, Corrupt: 0.0001, MTU: 1400, Seed: 7, Down: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if s, _ := Parse("burst=1%/50%"); s.BurstLoss != 1 {
		t.Errorf("the bad state loses %g, want all", s.BurstLoss)
	}
	s, _ := Parse("delay=10ms loss=1%")
	if err := s.Update("loss=2%"); err != nil || s.Delay != 10*time.Millisecond || s.Loss != 0.02 {
		t.Errorf("after an update: %+v, %v", s, err)
	}
	if err := s.Update("delay=1ms mtu=3"); err == nil || s.Delay != 10*time.Millisecond {
		t.Errorf("a refused update changed %+v (%v)", s, err)
	}
}

func TestParseRefusesInOneSentence(t *testing.T) {
	for text, want := range map[string]string{
		"speed=1":                "not a setting",
		"loss":                   "name=value",
		"loss=":                  "name=value",
		"loss=1% loss=2%":        "twice",
		"loss=101%":              "share",
		"loss=-1":                "share",
		"loss=NaN":               "share",
		"delay=5":                "time",
		"delay=-5ms":             "time",
		"delay=48h":              "at most",
		"law=cauchy":             "laws are",
		"order=any":              "keep or free",
		"burst=1%":               "ENTER/LEAVE",
		"burst=1%/0":             "never ends",
		"reorder=1%":             "SHARE/TIME",
		"reorder=1%/0s":          "held back",
		"queue=0p rate=1G":       "holds nothing",
		"queue=10p":              "with a rate",
		"queue=9999999p rate=1G": "too long",
		"mtu=20":                 "between 68",
		"mtu=1e3":                "whole number",
		"rate=10":                "at least",
		"rate=fast":              "bandwidth",
		"line=cut":               "up or down",
		"seed=-1":                "whole number",
		"overhead=2000":          "overhead",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one sentence with %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("rate=1G,overhead=24 queue=64KiB/100p delay=10ms jitter=2ms law=normal order=free loss=0.1% burst=0.1%/25%")
	f.Add("burst=1%/2% burst-loss=0% reorder=33.3333333%/1ns corrupt=1e-9 seed=18446744073709551615")
	f.Add("burst=0 reorder=0 rate=0 line=up loss=0.07%")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		back, err := Parse(s.String())
		if err != nil || back != s {
			t.Fatalf("%q was read as %+v, written as %q and read again as %+v, %v", text, s, s, back, err)
		}
		l := NewLine(0, s)
		for i := range int64(20) {
			v := l.Arrive(i*1000, 64+int(i)*100)
			for range v.Copies {
				l.Hold(v.At, 0, 64)
			}
			if v.At < 0 || v.Copies > 0 && v.At < i*1000 {
				t.Fatalf("%q: frame %d comes out at %d", text, i, v.At)
			}
		}
	})
}
