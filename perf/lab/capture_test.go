package lab

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/capture"
)

func TestACaptureSeesBothWaysOfWiresAndOfPlainLinks(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ping")
	leavesNothing(t)
	l, err := Up(Options{ID: "tap", Topology: []byte(threeInARow)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Down() })
	if _, err := l.SetWire("a>b", "duplicate=100%"); err != nil {
		t.Fatal(err)
	}
	for link, fate := range map[string]string{"a-b": "out after 7", "b-c": ""} {
		c, err := l.Capture(link)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			w, _ := l.Plan.Wire(link)
			ping(t, l, w, "10")
			time.Sleep(200 * time.Millisecond)
			stop()
		}()
		requests, replies := 0, 0
		for f := (Frame{}); ; {
			if err := c.Next(ctx, &f); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			is := capture.Describer{}.Describe(f.Data)
			switch {
			case strings.Contains(is, "EchoRequest") && f.Way == 0:
				requests++
				if !strings.HasPrefix(f.Fate, fate) || fate != "" && !strings.HasSuffix(f.Fate, "twice") {
					t.Errorf("%s: a request's fate is %q", link, f.Fate)
				}
			case strings.Contains(is, "EchoReply") && f.Way == 1:
				replies++
			case strings.Contains(is, "Echo"):
				t.Errorf("%s: way %d: %s", link, f.Way, is)
			}
			if age := time.Since(f.At); age < -time.Second || age > 5*time.Second {
				t.Errorf("%s: a frame of %v", link, f.At)
			}
		}
		<-asked
		if requests != 10 || replies < 9 || c.Missed() != 0 {
			t.Errorf("%s: %d requests, %d replies, %d missed: want 10 of each and none", link, requests, replies, c.Missed())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Capture("a-c"); err == nil {
		t.Error("a link that is not there is watched")
	}
}
