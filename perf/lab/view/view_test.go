package view

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func sample() Picture {
	at := time.Date(2026, 11, 25, 9, 30, 0, 0, time.UTC)
	p := Picture{At: at, Lab: "lab", Topology: "eight-hubs", Problem: "the controller does not answer",
		Nodes: []Node{{"controller", "controller", false}, {"beijing", "backbone", true}},
		Paths: []Path{{"beijing-terminal", "guizhou-terminal", []string{"beijing-terminal", "beijing", "gansu", "guizhou", "guizhou-terminal"}, 41300 * time.Microsecond}},
	}
	for i, name := range []string{"beijing-shanghai", "beijing-inner-mongolia", "a-very-long-name-of-a-place-another-very-long-name"} {
		p.Links = append(p.Links, Link{Number: i + 1, Name: name, Up: i != 1, There: Way{BitsPerSecond: 1.2345e9 / float64(i*1000+1)}, Wire: i == 2})
	}
	p.Links[2].There.Settings, p.Links[2].Back.Settings = "rate=1G delay=10ms loss=1% seed=7", "delay=12ms seed=8"
	p.Links[2].There.LostPerSecond, p.Links[2].Back.Held = 12345, 17
	p.Links = append(p.Links, Link{Name: "beijing-terminal-beijing", Up: true})
	for i := range 5 {
		p.Events = append(p.Events, Event{at.Add(time.Duration(i) * time.Second), fmt.Sprintf("event number %d of some length that goes on for longer than eighty columns can hold", i)})
	}
	return p
}

func TestThePictureIsDrawnAsInTheTranscript(t *testing.T) {
	var got strings.Builder
	for _, size := range [][2]int{{80, 0}, {80, 12}, {60, 24}, {132, 0}} {
		fmt.Fprintf(&got, "== %d columns, %d rows\n%s\n", size[0], size[1], strings.Join(Lines(sample(), size[0], size[1]), "\n"))
	}
	const file = "testdata/picture.txt"
	if os.Getenv("DSSN_REWRITE") != "" {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("(DSSN_REWRITE=1 writes %s anew)\n%s", file, got.String())
	}
}

func TestNoLineIsWiderAndNoPictureHigherThanAsked(t *testing.T) {
	p := sample()
	for range 40 {
		p.Links = append(p.Links, p.Links...)
		if len(p.Links) > 200 {
			break
		}
	}
	for columns := 40; columns < 200; columns += 7 {
		for rows := 16; rows < 60; rows += 5 {
			lines := Lines(p, columns, rows)
			if len(lines) > rows {
				t.Fatalf("%d lines in %d rows:\n%s", len(lines), rows, strings.Join(lines, "\n"))
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > columns {
					t.Fatalf("%d columns: %q", columns, l)
				}
			}
		}
	}
}
