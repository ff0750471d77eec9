//go:build !purego

package aead

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dssn/internal/need"
)

// The timing test follows dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my
// code constant time?", DATE 2017): two classes of secret inputs, taken in
// random order, so that whatever else runs on the machine disturbs both alike;
// then Welch's t-test on the times, cropped at several percentiles. It asserts
// on the difference of the classes and never on a time.
//
// A leak shows in every round, a disturbance does not: the test fails only if
// |t| is over the limit in all rounds.
const (
	timingRounds  = 6
	timingSamples = 6000
	timingLimit   = 10 // dudect: over 10 is a leak with great certainty
)

// tValue measures f with input 0 or 1 and returns the largest |t| over the
// crops.
func tValue(r *rand.Rand, prepare func(class int), f func()) float64 {
	times := make([]float64, timingSamples)
	classes := make([]int, timingSamples)
	for i := range times {
		classes[i] = r.IntN(2)
		prepare(classes[i])
		settle()
		start := time.Now()
		f()
		times[i] = float64(time.Since(start))
	}
	sorted := slices.Clone(times)
	slices.Sort(sorted)
	worst := 0.0
	for _, crop := range []float64{0.5, 0.75, 0.9, 0.95} {
		limit := sorted[int(crop*float64(len(sorted)-1))]
		var n, sum, square [2]float64
		for i, v := range times {
			if v <= limit {
				c := classes[i]
				n[c]++
				sum[c] += v
				square[c] += v * v
			}
		}
		mean0, mean1 := sum[0]/n[0], sum[1]/n[1]
		var0, var1 := square[0]/n[0]-mean0*mean0, square[1]/n[1]-mean1*mean1
		if se := math.Sqrt(var0/n[0] + var1/n[1]); se > 0 {
			worst = max(worst, math.Abs(mean0-mean1)/se)
		}
	}
	return worst
}

// settle lets what prepare wrote reach the caches, so that no store of it is
// still under way, from whatever address it came, when the clock starts.
func settle() {
	for range 2000 {
		settled++
	}
}

var settled int

// leaks reports whether |t| is over the limit in every round, and the values.
func leaks(prepare func(class int), f func()) (bool, []float64) {
	r := rand.New(rand.NewPCG(18, 18))
	var ts []float64
	for range timingRounds {
		v := tValue(r, prepare, f)
		ts = append(ts, v)
		if v <= timingLimit {
			return false, ts
		}
	}
	return true, ts
}

func TestTimeDoesNotDependOnSecrets(t *testing.T) {
	need.Long(t)
	for p := pathAVX2; p <= available(); p++ {
		for _, s := range suites {
			// One packet alone, and short ones that share passes.
			for _, lengths := range [][]int{{64}, {570}, {64, 64, 64}} {
				checkTiming(t, p, s, lengths)
			}
		}
	}
}

func checkTiming(t *testing.T, p path, s Suite, lengths []int) {
	r := rand.New(rand.NewPCG(19, 19))
	const most = 600
	jobs := make([]Job, len(lengths))
	for i, n := range lengths {
		jobs[i].Buf = make([]byte, n+TagSize)
	}
	// Class 0: an all-zero key or text; class 1: one of several random ones.
	// Both are fetched alike, from as much memory, or the caches would tell the
	// classes apart before we do.
	const several = 8
	var texts [2][]byte
	var keys [2][]*Key
	const stride = 2 * 4096
	texts[0], texts[1] = make([]byte, stride), random(r, stride)
	for range several {
		keys[0] = append(keys[0], mustKey(t, p, s, make([]byte, s.KeySize())))
		keys[1] = append(keys[1], mustKey(t, p, s, random(r, s.KeySize())))
	}
	pick := func(class int) ([]byte, *Key) {
		i := r.IntN(several)
		return texts[class][i*most:][:most], keys[class][i]
	}
	fill := func(key *Key, text []byte) {
		for i, n := range lengths {
			jobs[i].Key = key
			copy(jobs[i].Buf[:n], text)
		}
	}
	texted := func(class int) {
		text, _ := pick(class)
		fill(keys[1][0], text)
	}
	if bad, ts := leaks(texted, func() { Seal(jobs) }); bad {
		t.Errorf("%v on %v, %d bytes: sealing tells texts apart, |t| = %.1f", s, p, lengths, ts)
	}
	// Both classes' keys in the same memory, and in the cache.
	place := mustKey(t, p, s, make([]byte, s.KeySize()))
	keyed := func(class int) {
		_, key := pick(class)
		become(place, key)
		fill(place, texts[0])
		Seal(jobs)
		fill(place, texts[0])
	}
	if bad, ts := leaks(keyed, func() { Seal(jobs) }); bad {
		t.Errorf("%v on %v, %d bytes: sealing tells keys apart, |t| = %.1f", s, p, lengths, ts)
	}
	// Tags that are wrong in the first byte, or in the last.
	fill(keys[1][0], texts[1])
	Seal(jobs)
	// Forged beforehand: a byte written just now and read as part of a word
	// costs a different time in each word.
	// Both at the same place of a page.
	var wrong [2][]byte
	pages := make([]byte, 2*4096)
	for class := range wrong {
		wrong[class] = pages[4096*class:][:len(jobs[0].Buf)]
		copy(wrong[class], jobs[0].Buf)
		wrong[class][lengths[0]+15*class] ^= 1
	}
	forged := func(class int) {
		for i := range lengths {
			copy(jobs[i].Buf, wrong[class])
		}
	}
	if bad, ts := leaks(forged, func() { Open(jobs) }); bad {
		t.Errorf("%v on %v, %d bytes: opening tells wrong tags apart, |t| = %.1f", s, p, lengths, ts)
	}
}

// become writes key's secrets over those of k, so that two keys can be compared
// at one address.
func become(k, key *Key) {
	switch to := k.impl.(type) {
	case *gcm512:
		*to.key = *key.impl.(*gcm512).key
	case *gcm256:
		*to.key = *key.impl.(*gcm256).key
	case *chacha512:
		to.key = key.impl.(*chacha512).key
	case *chacha256:
		to.key = key.impl.(*chacha256).key
	}
}

// The method itself must be able to find a leak.
func TestTimingTestFindsALeak(t *testing.T) {
	need.Long(t)
	secret, guess := make([]byte, 4096), make([]byte, 4096)
	equal := false
	prepare := func(class int) {
		clear(guess)
		guess[len(guess)-1] = 1
		guess[0] = byte(class)
	}
	if found, ts := leaks(prepare, func() {
		equal = true
		for i := range secret {
			if secret[i] != guess[i] {
				equal = false
				break
			}
		}
	}); !found {
		t.Errorf("an early exit was not seen: |t| = %.1f", ts)
	}
	if equal {
		t.Error("unequal guesses compared equal")
	}
}
