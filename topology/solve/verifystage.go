// What a level of a stage says, for Verify.

package solve

import (
	"cmp"
	"math"
)

// portions is how much of each demand's final rate is as urgent as the level: what those
// served earlier have, and what those who rise in the level's stage have up to it.
func portions(d *Demands, rate []float64, l Level) []float64 {
	out := make([]float64, len(rate))
	upTo := l.Rate * (1 + Eps)
	for i, r := range rate {
		promised := 0.0
		if d.Committed != nil {
			promised = math.Min(r, float64(d.Committed[i]))
		}
		turn := 0 // -1: served before this stage, 0: in it, 1: after
		if l.Stage.Class != AllClasses {
			turn = cmp.Compare(d.Class[i], l.Stage.Class)
		}
		switch {
		case l.Stage.Kind == Committed && turn < 0:
			out[i] = promised
		case l.Stage.Kind == Committed && turn == 0 && d.Committed != nil:
			out[i] = math.Min(promised, upTo*float64(d.Committed[i]))
		case l.Stage.Kind == Ceiling && turn < 0:
			out[i] = r
		case l.Stage.Kind == Ceiling && turn == 0:
			out[i] = math.Max(promised, math.Min(r, upTo*d.Weight[i]))
		case l.Stage.Kind == Ceiling:
			out[i] = promised
		}
	}
	return out
}

// concerns says whether a level of a stage can prove the rate of demand i: whatever more
// the demand had would be less urgent than the level.
func (l Level) concerns(d *Demands, i int, rate float64) bool {
	turn := 0
	if l.Stage.Class != AllClasses {
		turn = cmp.Compare(d.Class[i], l.Stage.Class)
	}
	promised := 0.0
	if d.Committed != nil {
		promised = float64(d.Committed[i])
	}
	switch {
	case turn > 0:
		return true
	case l.Stage.Kind == Committed && rate >= promised*(1-Tolerance):
		return true // more would be beyond its promise
	case turn < 0:
		return false
	case l.Stage.Kind == Committed:
		return rate >= l.Rate*(1-Eps)*promised
	}
	return rate >= l.Rate*(1-Eps)*d.Weight[i]
}
