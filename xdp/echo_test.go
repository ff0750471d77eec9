package xdp

import (
	"testing"
	"time"
)

func TestAnAdjacencyIsDownAfterSoManyQuestionsAndUpAfterThreeAnswers(t *testing.T) {
	const every, missed = 5 * time.Millisecond, 4
	now := time.Unix(0, 0)
	var e echo
	step := func(answers int) (changed bool) {
		for range answers {
			changed = e.answered() || changed
		}
		now = now.Add(every)
		return e.ask(now, every, missed) || changed
	}
	for range 100 {
		if step(0) {
			t.Fatal("a neighbour that never answered was told of")
		}
	}
	if !step(1) {
		t.Fatal("the first answer was not told")
	}
	for range 10 {
		if step(1) {
			t.Fatal("news from a neighbour that answers")
		}
	}
	silent := 0
	for !step(0) {
		if silent++; silent > 100 {
			t.Fatal("silence was never told")
		}
	}
	if silent != missed-1 || !e.down {
		t.Errorf("told after %d intervals without an answer, want %d", silent+1, missed)
	}
	if step(1) || step(1) || step(0) || step(1) || step(1) {
		t.Error("up again before three answers in a row")
	}
	if !step(1) || e.down {
		t.Error("not up again after three answers in a row")
	}
}

func TestAStallOfOurOwnBlamesNobody(t *testing.T) {
	const every, missed = 5 * time.Millisecond, 2
	now := time.Unix(0, 0)
	var e echo
	e.ask(now, every, missed)
	for range 10 {
		// A second late, and the answer to the last question waits in the socket.
		now = now.Add(time.Second)
		e.answered()
		if e.ask(now, every, missed) {
			t.Fatal("down")
		}
		if e.next != now.Add(every) {
			t.Fatalf("the next question is due at %v, want one interval from now", e.next)
		}
	}
}

func TestOnlyOurOwnQuestionsAreAnswers(t *testing.T) {
	p := &Prober{o: ProberOptions{SID: 2}, secret: 7}
	a := p.begin(ProbeTarget{SID: 3}, 5)
	payload := a.frame[echoFrame-echoBytes:]
	if n, ok := p.answer(payload); !ok || n != 5 {
		t.Errorf("our own question was read as %d, %v", n, ok)
	}
	for i := range payload {
		if i >= 4 && i < 16 {
			continue // number and sequence may be anything
		}
		forged := append([]byte(nil), payload...)
		forged[i] ^= 1
		if _, ok := p.answer(forged); ok {
			t.Errorf("a datagram with another byte %d was taken for an answer", i)
		}
	}
	if _, ok := p.answer(payload[:echoBytes-1]); ok {
		t.Error("a short datagram was taken for an answer")
	}
}
