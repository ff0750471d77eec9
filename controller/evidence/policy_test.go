package evidence_test

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dssn/controller/evidence"
)

// someWitness is a witness with a key of its own.
func someWitness(n byte) (name, vkey string, key ed25519.PrivateKey) {
	seed := make([]byte, 32)
	seed[0] = n
	key = ed25519.NewKeyFromSeed(seed)
	name = fmt.Sprintf("w%d.example/witness", n)
	return name, evidence.CosignerKey(name, key.Public().(ed25519.PublicKey)), key
}

func TestAPolicyCountsEachWitnessOnce(t *testing.T) {
	signer, verifier, err := evidence.NewKey("test.log")
	if err != nil {
		t.Fatal(err)
	}
	l, j := open(t, filepath.Join(t.TempDir(), "j.db"), signer, verifier)
	defer j.Close()
	if err := l.Append(0, [][]byte{[]byte("{}")}); err != nil {
		t.Fatal(err)
	}
	cp, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	text := "log " + verifier + "\n"
	var lines []string
	for i := range byte(4) {
		name, vkey, key := someWitness(i)
		text += fmt.Sprintf("witness W%d %s\n", i, vkey)
		body, _, _ := strings.Cut(string(cp), "\n\n")
		lines = append(lines, evidence.Cosign(name, key, body+"\n", int64(1e9)+int64(i)))
	}
	text += "group east 2 W0 W1 W2 # two of three\ngroup both all east W3\nquorum both\n"
	p, err := evidence.ReadPolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by   []int
		good bool
	}{{nil, false}, {[]int{0, 1, 3}, true}, {[]int{3, 2, 0}, true}, {[]int{0, 1, 2}, false}, {[]int{0, 0, 3}, false}, {[]int{3}, false}, {[]int{0, 1, 2, 3}, true}} {
		msg := slices.Clone(cp)
		for _, i := range c.by {
			msg = append(msg, lines[i]...)
		}
		_, _, names, err := p.Open(msg)
		if (err == nil) != c.good {
			t.Errorf("cosigned by %v (%v): %v", c.by, names, err)
		}
	}
	// A cosignature of another time or text is false, and so is all of it.
	_, _, key := someWitness(0)
	for what, line := range map[string]string{
		"of another text": evidence.Cosign("w0.example/witness", key, "test.log\n7\nAAAA\n", 1e9),
		"changed":         strings.Replace(lines[0], lines[0][len(lines[0])-20:len(lines[0])-10], "AAAAAAAAAA", 1),
	} {
		if _, err := p.Cosigned(append(slices.Clone(cp), line...)); err == nil {
			t.Errorf("a cosignature that is %s is believed", what)
		}
	}
}

func TestAPolicyIsReadWholeOrNotAtAll(t *testing.T) {
	_, verifier, _ := evidence.NewKey("test.log")
	_, a, _ := someWitness(1)
	_, b, _ := someWitness(2)
	for what, text := range map[string]string{
		"no quorum":         "log " + verifier + "\nwitness a " + a + "\n",
		"unknown quorum":    "quorum b\n",
		"one witness twice": "witness a " + a + "\nwitness b " + a + "\nquorum a\n",
		"one name twice":    "witness a " + a + "\nwitness a " + b + "\nquorum a\n",
		"too many of few":   "witness a " + a + "\ngroup g 2 a\nquorum g\n",
		"a member twice":    "witness a " + a + "\ngroup g 2 a a\nquorum g\n",
		"a later member":    "group g any a\nwitness a " + a + "\nquorum g\n",
		"itself":            "witness a " + a + "\ngroup g any a g\nquorum g\n",
		"two logs":          "log " + verifier + "\nlog " + verifier + "\n",
		"a log's key":       "witness a " + verifier + "\nquorum a\n",
		"half a key":        "witness a " + a[:len(a)-4] + "\nquorum a\n",
		"another hash":      "witness a " + strings.Replace(a, "+", "+0", 1)[:len(a)] + "\nquorum a\n",
		"another word":      "believe everything\n",
	} {
		if _, err := evidence.ReadPolicy([]byte(text)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("a policy with %s: %v", what, err)
		}
	}
	p, err := evidence.ReadPolicy([]byte("# nothing is asked\nlog " + verifier + "\nwitness a " + a + " https://w.example/\nquorum none\n"))
	if err != nil || !p.Satisfied(nil) || p.Witnesses[0].URL != "https://w.example" {
		t.Errorf("%+v, %v", p, err)
	}
}

// Whatever a witness answers, what is taken from it is good by its key and
// leaves the checkpoint one that opens.
func FuzzTakeCosignature(f *testing.F) {
	signer, verifier, err := evidence.NewKey("test.log")
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	t := &testing.T{}
	l, j := open(t, filepath.Join(dir, "j.db"), signer, verifier)
	f.Cleanup(func() { j.Close() })
	cp, err := l.Checkpoint()
	if err != nil {
		f.Fatal(err)
	}
	name, vkey, key := someWitness(1)
	body, _, _ := strings.Cut(string(cp), "\n\n")
	w := evidence.Witness{Name: "w", Key: vkey}
	p, err := evidence.ReadPolicy([]byte("log " + verifier + "\nwitness w " + vkey + "\nquorum w\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(evidence.Cosign(name, key, body+"\n", 1e9)))
	f.Add([]byte("— x y\n"))
	f.Add([]byte("409\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n, err := evidence.WitnessSize(answer); err == nil && fmt.Sprint(n) != strings.TrimSuffix(string(answer), "\n") {
			t.Errorf("%q is taken for %d leaves", answer, n)
		}
		lines, err := evidence.TakeCosignature(cp, answer, w)
		if err != nil {
			return
		}
		if _, _, _, err := p.Open(append(slices.Clone(cp), lines...)); err != nil {
			t.Errorf("what was taken from %q does not open: %v", answer, err)
		}
	})
}

func FuzzReadPolicy(f *testing.F) {
	_, a, _ := someWitness(1)
	f.Add([]byte("witness a " + a + " http://x\ngroup g any a\nquorum g\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := evidence.ReadPolicy(b)
		if err != nil {
			return
		}
		var all []string
		for _, w := range p.Witnesses {
			all = append(all, w.Name)
		}
		if !p.Satisfied(all) {
			t.Error("a policy that was read is not satisfied by all of its witnesses")
		}
	})
}
