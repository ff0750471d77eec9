package core_test

import (
	"encoding/json"
	"testing"
	"time"

	"dssn/controller/core"
)

// Whatever a journal holds, a step ends in a reply or a refusal, and a refused
// input leaves the state as it was.
func FuzzStepTakesAnyInput(f *testing.F) {
	s := &script{}
	for _, text := range []string{world + "publish north-1 rain 1000\ngrant operator rain south 86400\nreserve south-1 rain committed=1G ceiling=2G\n"} {
		t := &testing.T{}
		s = newScript(t)
		s.run(text)
		for _, e := range s.journal {
			f.Add(e.body)
		}
	}
	f.Add([]byte(`{"usage":{"node":"south-1","report":{"epoch":"0123456789abcdef","counts":[{"reservation":"r-0000000000000001"}]}}}`))
	f.Add([]byte(`{"configure":{"topology":"{}","block":"5f00:d55::/32","operator":"3fff:d55::/32"}}`))
	f.Add([]byte(`{"create_session":{"by":{"operator":true},"id":"x","reservation":"r-0000000000000009","request":{"device":{"ipv6Address":"3fff:d55::1"},"applicationServer":{"ipv6Address":"3fff:d55:1:1:2c21:7047:e66c:e21a"},"qosProfile":"QOS_S","duration":9},"terms":{"class":"elastic","committed_bps":1,"ceiling_bps":1,"priority":1,"max_seconds":9}}}`))
	snapshot, err := s.c.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	now := s.now
	f.Fuzz(func(t *testing.T, b []byte) {
		var in core.Input
		if json.Unmarshal(b, &in) != nil {
			return
		}
		in.Once = nil // a refusal that is remembered is a change
		c, err := core.Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		before := c.Hash()
		_, _, err = c.Step(now, in)
		if err != nil && c.Hash() != before {
			t.Errorf("refused (%v), and yet the state changed", err)
		}
		if _, _, err := c.Step(now.Add(time.Hour), core.Input{Tick: &core.Tick{}}); err != nil {
			t.Errorf("time cannot pass any more: %v", err)
		}
		snap, err := c.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again, err := core.Restore(snap)
		if err != nil || again.Hash() != c.Hash() {
			t.Errorf("the state does not read back: %v", err)
		}
	})
}
