// Package scenario is the text in which one writes down what shall happen to a
// lab, and when. It is a core: it reads the text and puts its actions in order;
// who carries them out is perf/lab. A text, dssn-scenario/1:
//
//	dssn-scenario/1
//	# the digger comes after ten seconds
//	at 10s    cut beijing-gansu for 3s
//	at 15s    set beijing>gansu loss=1% delay=20ms for 5s
//	at 20s    kill chengdu for 4s
//	at 22.5s  kill controller
//	at 30s    start controller
//	at 31 s   cut link 4
//	at 33s    restore link 4
//	at 40s    say nothing more will happen
//	at 1m     end
//
// Times count from the beginning and need not be in order in the text. A link is
// "a-b", for set also "a>b" (one direction), or "link N", the N-th fibre as `dssn lab`
// numbers them. "for D" undoes the action after D: a cut link is restored, a killed
// program started, settings put back.
package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Format is the first line of a scenario.
const Format = "dssn-scenario/1"

// Bounds of a scenario.
const (
	MaxTime    = 24 * time.Hour
	MaxActions = 10000
	maxText    = 1 << 20
	maxLine    = 1000 // bytes
)

// Verb is what an action does.
type Verb string

// The verbs. Reset is the undoing of Set, which no text can ask for alone.
const (
	Cut     Verb = "cut"
	Restore Verb = "restore"
	Set     Verb = "set"
	Reset   Verb = "reset"
	Kill    Verb = "kill"
	Start   Verb = "start"
	Say     Verb = "say"
	End     Verb = "end"
)

// Action is one thing to be done.
type Action struct {
	At   time.Duration
	Line int // of the text
	Verb Verb
	// Subject is the link or node; Words are the settings of Set, or what Say says.
	Subject, Words string
	// For undoes the action after this long; zero leaves it. The undoing is an
	// action of its own in Actions, of the same line.
	For time.Duration
}

// String is the action in one line, without its time.
func (a Action) String() string {
	parts := []string{string(a.Verb)}
	for _, p := range []string{a.Subject, a.Words} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if a.For > 0 {
		parts = append(parts, "for", a.For.String())
	}
	return strings.Join(parts, " ")
}

// Scenario is what shall happen, in the order in which it will.
type Scenario struct{ Actions []Action }

// Length is when the last action is due.
func (s Scenario) Length() time.Duration {
	if len(s.Actions) == 0 {
		return 0
	}
	return s.Actions[len(s.Actions)-1].At
}

// Names knows the network that a scenario is for. Each method returns the one
// spelling of a name, or a sentence about why there is none.
type Names interface {
	Link(name string) (string, error) // "a-b" or "link N"
	Way(name string) (string, error)  // the same, or "a>b"
	Node(name string) (string, error)
	Settings(text string) error // of Set
}

// Parse reads a scenario. An error is one sentence that begins with the line's
// number.
func Parse(text string, names Names) (s Scenario, err error) {
	if len(text) > maxText {
		return s, fmt.Errorf("the scenario is longer than %d bytes", maxText)
	}
	if !utf8.ValidString(text) {
		return s, fmt.Errorf("the scenario is not UTF-8 text")
	}
	begun := false
	number := 0
	for raw := range strings.Lines(text) {
		number++
		line := strings.TrimRight(raw, "\r\n")
		if len(line) > maxLine {
			return s, fmt.Errorf("line %d is longer than %d bytes", number, maxLine)
		}
		words := joinUnits(strings.Fields(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if !begun {
			if len(words) != 1 || words[0] != Format {
				return s, fmt.Errorf("line %d: a scenario begins with the line %s, not with %q", number, Format, line)
			}
			begun = true
			continue
		}
		a, err := parseLine(words, names)
		if err != nil {
			return s, fmt.Errorf("line %d: %w", number, err)
		}
		a.Line = number
		s.Actions = append(s.Actions, a)
		if undo, ok := a.undo(); ok {
			s.Actions = append(s.Actions, undo)
		}
		if len(s.Actions) > MaxActions {
			return s, fmt.Errorf("line %d: there are more than %d actions", number, MaxActions)
		}
	}
	if !begun {
		return s, fmt.Errorf("the scenario is empty: it begins with the line %s", Format)
	}
	slices.SortStableFunc(s.Actions, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
	return s, s.check()
}

// joinUnits lets people write "10 s" for 10s.
func joinUnits(words []string) []string {
	for i := 1; i+1 < len(words); i++ {
		if _, err := strconv.ParseFloat(words[i], 64); err == nil && (words[i-1] == "at" || words[i-1] == "for") && slices.Contains([]string{"ns", "us", "ms", "s", "m", "h"}, words[i+1]) {
			words[i] += words[i+1]
			words = slices.Delete(words, i+1, i+2)
		}
	}
	return words
}

// undo is the action that ends another.
func (a Action) undo() (Action, bool) {
	verb, ok := map[Verb]Verb{Cut: Restore, Set: Reset, Kill: Start}[a.Verb]
	if !ok || a.For == 0 {
		return Action{}, false
	}
	return Action{At: a.At + a.For, Line: a.Line, Verb: verb, Subject: a.Subject}, true
}

// parseLine reads "at TIME VERB …".
func parseLine(words []string, names Names) (a Action, err error) {
	if words[0] != "at" || len(words) < 3 {
		return a, fmt.Errorf("write `at TIME VERB …`, the verbs being cut, restore, set, kill, start, say and end")
	}
	if a.At, err = span(words[1]); err != nil {
		return a, err
	}
	a.Verb = Verb(words[2])
	rest := words[3:]
	switch a.Verb {
	case Say:
		if len(rest) == 0 {
			return a, fmt.Errorf("say needs words")
		}
		a.Words = strings.Join(rest, " ")
		return a, nil
	case End:
		if len(rest) > 0 {
			return a, fmt.Errorf("end takes nothing, but %q was given", rest[0])
		}
		return a, nil
	case Cut, Restore, Set:
		name := ""
		if name, rest, err = linkName(a.Verb, rest); err != nil {
			return a, err
		}
		find := names.Link
		if a.Verb == Set {
			find = names.Way
		}
		if a.Subject, err = find(name); err != nil {
			return a, err
		}
	case Kill, Start:
		if len(rest) == 0 {
			return a, fmt.Errorf("%s needs a node", a.Verb)
		}
		if a.Subject, err = names.Node(rest[0]); err != nil {
			return a, err
		}
		rest = rest[1:]
	default:
		return a, fmt.Errorf("%q is not a verb: they are cut, restore, set, kill, start, say and end", words[2])
	}
	if n := len(rest); n >= 2 && rest[n-2] == "for" {
		if a.Verb == Restore || a.Verb == Start {
			return a, fmt.Errorf("%s cannot be undone after a while: leave out `for`", a.Verb)
		}
		if a.For, err = span(rest[n-1]); err != nil {
			return a, err
		}
		if a.For == 0 || a.At+a.For > MaxTime {
			return a, fmt.Errorf("for %s is not possible: it lasts longer than nothing and ends within %v", rest[n-1], MaxTime)
		}
		rest = rest[:n-2]
	}
	if a.Verb == Set {
		if len(rest) == 0 {
			return a, fmt.Errorf("set needs settings, such as loss=1%%")
		}
		a.Words = strings.Join(rest, " ")
		return a, names.Settings(a.Words)
	}
	if len(rest) > 0 {
		return a, fmt.Errorf("%q is not understood behind `%s %s`: write `for TIME` or nothing", rest[0], a.Verb, a.Subject)
	}
	return a, nil
}

// linkName takes "a-b" or "link N" off the front.
func linkName(v Verb, words []string) (name string, rest []string, err error) {
	if len(words) == 0 {
		return "", nil, fmt.Errorf("%s needs a link: its name a-b, or link N", v)
	}
	if words[0] != "link" {
		return words[0], words[1:], nil
	}
	if len(words) < 2 {
		return "", nil, fmt.Errorf("link needs a number")
	}
	if n, err := strconv.ParseUint(words[1], 10, 31); err != nil || n == 0 {
		return "", nil, fmt.Errorf("link %s is not possible: links are numbered from 1", words[1])
	}
	return "link " + words[1], words[2:], nil
}

// span reads a time of day zero.
func span(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > MaxTime {
		return 0, fmt.Errorf("%q is not a time: write for example 10s, 1m30s or 250ms, at most %v", text, MaxTime)
	}
	return d, nil
}

// check finds actions that contradict each other.
func (s Scenario) check() error {
	cut, dead := map[string]int{}, map[string]int{}
	ended := 0
	for _, a := range s.Actions {
		if ended != 0 {
			return fmt.Errorf("line %d: nothing can happen at %v, after the end of line %d", a.Line, a.At, ended)
		}
		switch a.Verb {
		case Cut:
			if by := cut[a.Subject]; by != 0 {
				return fmt.Errorf("line %d: at %v %s is cut already, by line %d", a.Line, a.At, a.Subject, by)
			}
			cut[a.Subject] = a.Line
		case Restore:
			if cut[a.Subject] == 0 {
				return fmt.Errorf("line %d: at %v %s is not cut", a.Line, a.At, a.Subject)
			}
			delete(cut, a.Subject)
		case Kill:
			if by := dead[a.Subject]; by != 0 {
				return fmt.Errorf("line %d: at %v %s is dead already, by line %d", a.Line, a.At, a.Subject, by)
			}
			dead[a.Subject] = a.Line
		case Start:
			if dead[a.Subject] == 0 {
				return fmt.Errorf("line %d: at %v %s runs", a.Line, a.At, a.Subject)
			}
			delete(dead, a.Subject)
		case End:
			ended = a.Line
		}
	}
	return nil
}
