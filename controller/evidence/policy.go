package evidence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Policy says whose word on a log is believed: the log's own key, and which of
// its witnesses have to have cosigned. Its file has the form of Sigsum's policies
// with verifier keys, which other tools read as well:
//
//	log VKEY
//	witness NAME VKEY [URL]
//	group NAME all|any|K MEMBER…
//	quorum NAME|none
//
// The zero Policy believes the key that a receipt itself carries and asks for no
// witness, which proves only that the file agrees with itself.
type Policy struct {
	LogKey    string
	Witnesses []Witness
	groups    map[string]group
	quorum    string
}

// Witness is one that may cosign. Name is the policy's; the key has its own.
type Witness struct {
	Name string
	Key  string // see NewCosigner
	URL  string // where it takes checkpoints; may be empty for who only verifies
}

type group struct {
	need    int
	members []string
}

// TrustLog is the policy of whoever knows only the log's verifier key.
func TrustLog(vkey string) Policy { return Policy{LogKey: vkey} }

// maxMembers bounds a policy's witnesses and groups.
const maxMembers = 256

// ReadPolicy reads a policy file. A name is defined before it is used.
func ReadPolicy(text []byte) (Policy, error) {
	p := Policy{groups: map[string]group{}}
	line := 0
	for l := range strings.Lines(string(text)) {
		line++
		if l, _, _ = strings.Cut(l, "#"); strings.TrimSpace(l) == "" {
			continue
		}
		if err := p.line(strings.Fields(l)); err != nil {
			return Policy{}, fmt.Errorf("line %d of the policy: %w", line, err)
		}
		if len(p.Witnesses)+len(p.groups) > maxMembers {
			return Policy{}, fmt.Errorf("line %d of the policy: it has more than %d witnesses and groups", line, maxMembers)
		}
	}
	if len(p.Witnesses) > 0 && p.quorum == "" {
		return Policy{}, fmt.Errorf("the policy names witnesses but no quorum: add a line such as \"quorum %s\", or \"quorum none\"", p.Witnesses[0].Name)
	}
	return p, nil
}

func (p *Policy) line(f []string) error {
	switch {
	case f[0] == "log" && (len(f) == 2 || len(f) == 3):
		if p.LogKey != "" {
			return fmt.Errorf("a second log: a policy here is for one")
		}
		if _, err := note.NewVerifier(f[1]); err != nil {
			return fmt.Errorf("the log's key %.100q is not one: %w", f[1], err)
		}
		p.LogKey = f[1]
	case f[0] == "witness" && (len(f) == 3 || len(f) == 4):
		if _, err := NewCosigner(f[2]); err != nil {
			return err
		}
		if p.defined(f[1]) {
			return fmt.Errorf("the name %.60q is taken: choose another", f[1])
		}
		for _, w := range p.Witnesses {
			if w.Key == f[2] {
				return fmt.Errorf("the witness %.60q has the key of %.60q: one witness counts once", f[1], w.Name)
			}
		}
		w := Witness{Name: f[1], Key: f[2]}
		if len(f) == 4 {
			w.URL = strings.TrimSuffix(f[3], "/")
		}
		p.Witnesses = append(p.Witnesses, w)
	case f[0] == "group" && len(f) >= 4:
		g := group{members: f[3:]}
		for i, m := range g.members {
			if m == "none" || !p.defined(m) || slices.Contains(g.members[:i], m) {
				return fmt.Errorf("the member %.60q is not defined above, or is there twice", m)
			}
		}
		switch f[2] {
		case "all":
			g.need = len(g.members)
		case "any":
			g.need = 1
		default:
			n, err := strconv.Atoi(f[2])
			if err != nil || n < 1 || n > len(g.members) {
				return fmt.Errorf("%.20q of %d members is no threshold: use all, any or a number", f[2], len(g.members))
			}
			g.need = n
		}
		if p.defined(f[1]) {
			return fmt.Errorf("the name %.60q is taken: choose another", f[1])
		}
		p.groups[f[1]] = g
	case f[0] == "quorum" && len(f) == 2:
		if !p.defined(f[1]) {
			return fmt.Errorf("the quorum %.60q is not defined above", f[1])
		}
		if p.quorum != "" {
			return fmt.Errorf("a second quorum: leave one")
		}
		p.quorum = f[1]
	default:
		return fmt.Errorf("%.80q is not understood: use log, witness, group and quorum lines", strings.Join(f, " "))
	}
	return nil
}

func (p *Policy) defined(name string) bool {
	_, is := p.groups[name]
	return is || name == "none" || slices.ContainsFunc(p.Witnesses, func(w Witness) bool { return w.Name == name })
}

// Satisfied reports whether the named witnesses (names of the policy) are a quorum.
func (p *Policy) Satisfied(cosigned []string) bool {
	return p.quorum == "" || p.satisfied(p.quorum, cosigned)
}

func (p *Policy) satisfied(name string, cosigned []string) bool {
	if name == "none" {
		return true
	}
	g, is := p.groups[name]
	if !is {
		return slices.Contains(cosigned, name)
	}
	n := 0
	for _, m := range g.members {
		if p.satisfied(m, cosigned) { // groups are of what is defined above: no circle
			n++
		}
	}
	return n >= g.need
}

// Open checks a checkpoint by the policy and reads it: signed by the log, and
// cosigned by a quorum. cosigned are the policy's names of those who did.
func (p *Policy) Open(msg []byte) (tree tlog.Tree, origin string, cosigned []string, err error) {
	tree, origin, err = OpenCheckpoint(msg, p.LogKey)
	if err != nil {
		return tree, origin, nil, err
	}
	if cosigned, err = p.Cosigned(msg); err != nil {
		return tree, origin, nil, err
	}
	if !p.Satisfied(cosigned) {
		return tree, origin, cosigned, fmt.Errorf("the checkpoint of %s with %d leaves is cosigned by %s, which is no quorum of the policy: fetch it again in a minute, and ask the witnesses if it stays so", origin, tree.N, nobody(cosigned))
	}
	return tree, origin, cosigned, nil
}

// Cosigned are the policy's witnesses that have cosigned a checkpoint.
func (p *Policy) Cosigned(msg []byte) (names []string, err error) {
	own, err := note.NewVerifier(p.LogKey)
	if err != nil {
		return nil, fmt.Errorf("the log's verifier key %.100q is not one: %w", p.LogKey, err)
	}
	known := []note.Verifier{own}
	for _, w := range p.Witnesses {
		v, err := NewCosigner(w.Key)
		if err != nil {
			return nil, err
		}
		known = append(known, v)
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	if err != nil {
		return nil, fmt.Errorf("a signature under the checkpoint of %s is false: %w", own.Name(), err)
	}
	for i, w := range p.Witnesses {
		v := known[i+1]
		if slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return s.Name == v.Name() && s.Hash == v.KeyHash() }) {
			names = append(names, w.Name)
		}
	}
	return names, nil
}

func nobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
