package plan

import (
	"errors"
	"strings"
	"testing"

	"dssn/topology/solve"
)

const network = `{"format":"te-topology/1","name":"three","nodes":[{"name":"a","lat":50,"lon":8},{"name":"b","lat":52,"lon":9},{"name":"c","lat":51,"lon":12}],
"links":[{"src":0,"dst":1,"bps":1000,"latency_us":5},{"src":1,"dst":0,"bps":1000,"latency_us":5},
{"src":1,"dst":2,"bps":1000,"latency_us":5},{"src":2,"dst":1,"bps":1000,"latency_us":5},
{"src":0,"dst":2,"bps":500,"latency_us":5},{"src":2,"dst":0,"bps":500,"latency_us":5}]}`

const wishes = `{"src":[0,1,0],"dst":[2,2,1],"bps":[1200,600,100],"weight":[1,1,1],"class":[0,0,0]}`

func question() Question {
	return Question{Topology: []byte(network), Demands: []byte(wishes), Gap: 1e-4}
}

func TestAnAnswerIsVerifiedAndReadable(t *testing.T) {
	q := question()
	a, err := Ask(q)
	if err != nil {
		t.Fatal(err)
	}
	// 1500 bit/s can reach c, and 100 go to b beside it.
	if v := a.Verdict.Value; v < 1599 || v > 1600.001 {
		t.Errorf("the greatest flow is %g, want 1600", v)
	}
	var table strings.Builder
	if err := a.Table(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.6kbit/s carried", "bottleneck", "b>c", "a>c", "most limited", "fullest link  100.00 %"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	page := string(a.HTML())
	for _, want := range []string{"<svg", "Bottlenecks", "Who is limited by what", "a&gt;c"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	back, name, err := solve.ReadAllocation(a.Allocation.AppendJSON(nil, a.Instance.Name))
	if err != nil || name != "three" || len(back.Flows) != len(a.Allocation.Flows) {
		t.Fatalf("the allocation reads back as %d flows of %q: %v", len(back.Flows), name, err)
	}
	if v, err := solve.Verify(a.Instance, back); err != nil || v.Value != a.Verdict.Value {
		t.Errorf("what was written verifies as %+v, %v", v, err)
	}
}

func TestFailuresAndWhatIfs(t *testing.T) {
	q := question()
	q.Down = []string{"a>c"}
	q.WhatIf = []string{"cut:b>c", "add:c>a=1.5k"}
	a, err := Ask(q)
	if err != nil {
		t.Fatal(err)
	}
	if v := a.Verdict.Value; v < 1099 || v > 1100.001 {
		t.Errorf("without a>c the greatest flow is %g, want 1100", v)
	}
	if a.Change == nil || a.Change.Allocation.Unserved != 2 {
		t.Fatalf("with b-c cut too, nothing reaches c: %+v", a.Change)
	}
	if v := a.Change.Verdict.Value; v < 599 || v > 600.001 {
		t.Errorf("the change carries %g, want 100 to b and 500 from c", v)
	}
	if n := a.Instance.Demands.Len(); n != 3 {
		t.Errorf("the what-if changed the instance itself: %d demands", n)
	}
	q = question()
	q.WhatIf = []string{"drain:b"}
	if a, err = Ask(q); err != nil || a.Change.Verdict.Value < 499 || a.Change.Verdict.Value > 500.001 {
		t.Errorf("with b drained: %+v, %v", a.Change, err)
	}
}

func TestEveryObjectiveHasAHeadline(t *testing.T) {
	for o, want := range map[solve.Objective]string{solve.MaxFlow: "carried", solve.MaxLambda: "every demand gets 0.", solve.MaxMinFair: "fair shares"} {
		q := question()
		q.Objective = o
		a, err := Ask(q)
		if err != nil {
			t.Fatal(err)
		}
		if h := a.Headline(); !strings.Contains(h, want) {
			t.Errorf("%v: %s", o, h)
		}
		if j := string(a.JSON()); !strings.HasPrefix(j, `{"objective":"`) || strings.Contains(j, "NaN") || strings.Contains(j, "Inf") {
			t.Errorf("%v: %s", o, j)
		}
	}
}

func TestProgressReadsAsASentence(t *testing.T) {
	p := solve.Progress{Round: 3, Value: 2e9, Bound: 3e9, Columns: 70}
	for o, want := range map[solve.Objective]string{
		solve.MaxFlow:    "round 3, 70 paths: 2Gbit/s carried, at most 3Gbit/s",
		solve.MaxLambda:  "round 3, 70 paths: 0.5000 of every wish, at most 1.0000",
		solve.MaxMinFair: "round 3, 70 paths: shares have risen to 2Gbit/s per weight, the next stop is at 3Gbit/s",
	} {
		if q := p; o == solve.MaxLambda {
			q.Value = 0.5
			if got := ProgressLine(o, q); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		} else if got := ProgressLine(o, p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestACommittedRateThatDoesNotFitIsAnAnswer(t *testing.T) {
	q := question()
	q.Objective = solve.MaxMinFair
	q.Demands = []byte(strings.Replace(wishes, "}", `,"committed_bps":[1200,600,0]}`, 1))
	a, err := Ask(q)
	if err != nil {
		t.Fatal(err)
	}
	if a.Verdict.Unproved > 0 || len(a.Allocation.Short) != 2 {
		t.Fatalf("%d without a proof, short: %+v; want 1800 promised into c, which 1500 reach", a.Verdict.Unproved, a.Allocation.Short)
	}
	// 1500 of 1800: each promise is kept to five sixths.
	for _, s := range a.Allocation.Short {
		if s.Got < s.Committed*0.833 || s.Got > s.Committed*0.834 || len(s.Cut) == 0 {
			t.Errorf("short: %+v", s)
		}
	}
	var table strings.Builder
	if err := a.Table(&table); err != nil {
		t.Fatal(err)
	}
	page := string(a.HTML())
	for _, want := range []string{"2 committed rates do not fit", "83.33 % of committed"} {
		if !strings.Contains(table.String(), want) || !strings.Contains(page, want) {
			t.Errorf("the table or the page lacks %q:\n%s", want, table.String())
		}
	}
	if !strings.Contains(table.String(), "a>c, b>c") && !strings.Contains(table.String(), "b>c, a>c") {
		t.Errorf("the table does not name the cut:\n%s", table.String())
	}
	if !strings.Contains(string(a.JSON()), `"short":2`) {
		t.Errorf("%s", a.JSON())
	}
}

func TestBadInputIsOneSentenceThatNamesTheElement(t *testing.T) {
	for want, spoil := range map[string]func(q *Question){
		"nothing to plan":      func(q *Question) { q.Demands = nil },
		"either the instance":  func(q *Question) { q.Instance = []byte("{}") },
		"demands: demand 1":    func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "[0,1,0]", "[0,7,0]", 1)) },
		"different lengths":    func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "[0,1,0]", "[0,1]", 1)) },
		"to itself":            func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "[2,2,1]", "[2,1,1]", 1)) },
		"is not a number":      func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "[1,1,1]", "[1,NaN,1]", 1)) },
		"is committed 700":     func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "}", `,"committed_bps":[0,700,0]}`, 1)) },
		"must not be negative": func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "}", `,"committed_bps":[0,-7,0]}`, 1)) },
		"weight -1":            func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "[1,1,1]", "[1,-1,1]", 1)) },
		"asks for 0 bps":       func(q *Question) { q.Demands = []byte(strings.Replace(wishes, "1200", "0", 1)) },
		"link 1 has capacity 0": func(q *Question) {
			q.Topology = []byte(strings.Replace(network, `"src":1,"dst":0,"bps":1000`, `"src":1,"dst":0,"bps":0`, 1))
		},
		"no node named \"z\"":  func(q *Question) { q.Down = []string{"a>z"} },
		"there is no link 9":   func(q *Question) { q.Down = []string{"9"} },
		"is not a link":        func(q *Question) { q.Down = []string{"ab"} },
		"is not a what-if":     func(q *Question) { q.WhatIf = []string{"burn:a"} },
		"is not a bandwidth":   func(q *Question) { q.WhatIf = []string{"add:a>b=lots"} },
		"gap 2 makes no sense": func(q *Question) { q.Gap = 2 },
	} {
		q := question()
		spoil(&q)
		_, err := Ask(q)
		var input InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one sentence with %q", err, want)
		}
	}
}
