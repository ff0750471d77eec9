// Columns: the paths found so far, and the little problem that the prices see.
//
// Prices live on few links: the tight ones, called rows. To the prices a path is
// only the sequence of rows on it, its pattern, and a demand only the set of
// patterns it may choose from, its class. Demands of one class are
// interchangeable, so half a million demands become some thousands of classes,
// and what the master decides for a class is dealt out to its members afterwards.
//
//	demand 17 ─┐                     ┌ pattern [row 3]          path over links 9 20 31 4
//	demand 93 ─┴ class {A, B} ───────┤
//	                                 └ pattern [row 7, row 2]   path over links 9 21 50 8 4

package solve

import "slices"

// pathStore keeps every path of every demand.
type pathStore struct {
	links []int32
	at    []int // links[at[p]:at[p+1]]
	prev  []int32
	pat   []int32 // pattern of each path under the present rows
	head  []int32 // by demand, newest path, -1: none
}

func newPathStore(demands int) *pathStore {
	s := &pathStore{at: []int{0}, head: make([]int32, demands)}
	for i := range s.head {
		s.head[i] = -1
	}
	return s
}

func (s *pathStore) path(p int32) []int32 { return s.links[s.at[p]:s.at[p+1]] }

func (s *pathStore) add(demand int32, links []int32) int32 {
	p := int32(len(s.prev))
	s.links = append(s.links, links...)
	s.at = append(s.at, len(s.links))
	s.prev = append(s.prev, s.head[demand])
	s.pat = append(s.pat, 0)
	s.head[demand] = p
	return p
}

// find returns the demand's path over these very links, or -1.
func (s *pathStore) find(demand int32, links []int32) int32 {
	for p := s.head[demand]; p >= 0; p = s.prev[p] {
		if slices.Equal(s.path(p), links) {
			return p
		}
	}
	return -1
}

// interner numbers chains of keys: the number of a chain is looked up by the
// number of its beginning and its last element. Number 0 is the empty chain, and
// a chain's number is greater than that of its beginning.
type interner struct {
	parent, last []int32
	slots        []int32 // open addressing; -1 is free
}

func newInterner() *interner {
	t := &interner{parent: []int32{-1}, last: []int32{-1}}
	t.resize(1 << 10)
	return t
}

func (t *interner) len() int { return len(t.parent) }

func (t *interner) resize(n int) {
	t.slots = make([]int32, n)
	for i := range t.slots {
		t.slots[i] = -1
	}
	for i := 1; i < len(t.parent); i++ {
		*t.slot(t.parent[i], t.last[i]) = int32(i)
	}
}

func (t *interner) slot(parent, last int32) *int32 {
	h := (uint64(uint32(parent))<<32 | uint64(uint32(last))) * 0x9e3779b97f4a7c15
	mask := uint64(len(t.slots) - 1)
	for i := h >> 32 & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s < 0 || t.parent[s] == parent && t.last[s] == last {
			return &t.slots[i]
		}
	}
}

func (t *interner) child(parent, last int32) int32 {
	s := t.slot(parent, last)
	if *s >= 0 {
		return *s
	}
	n := int32(len(t.parent))
	t.parent, t.last = append(t.parent, parent), append(t.last, last)
	*s = n
	if 2*len(t.parent) > len(t.slots) {
		t.resize(2 * len(t.slots))
	}
	return n
}

// columns is the book of rows, patterns and classes over a pathStore.
type columns struct {
	store    *pathStore
	row      []int32 // by link: its row or -1
	rows     []int32 // by row: its link
	patterns *interner
	classes  *interner // chains of ascending patterns
	classOf  []int32   // by demand
	set      []int32   // scratch
}

func newColumns(store *pathStore, links int) *columns {
	c := &columns{store: store, row: make([]int32, links), patterns: newInterner(), classes: newInterner(), classOf: make([]int32, len(store.head))}
	for i := range c.row {
		c.row[i] = -1
	}
	return c
}

// setRows makes exactly these links the rows and sorts all demands anew.
func (c *columns) setRows(links []int32) {
	for _, e := range c.rows {
		c.row[e] = -1
	}
	c.rows = append([]int32(nil), links...)
	for i, e := range links {
		c.row[e] = int32(i)
	}
	c.patterns, c.classes = newInterner(), newInterner()
	for p := range c.store.pat {
		c.store.pat[p] = c.pattern(c.store.path(int32(p)))
	}
	for d := range c.classOf {
		c.classify(int32(d))
	}
}

func (c *columns) pattern(links []int32) int32 {
	p := int32(0)
	for _, e := range links {
		if r := c.row[e]; r >= 0 {
			p = c.patterns.child(p, r)
		}
	}
	return p
}

// classify finds the class of a demand from all its paths.
func (c *columns) classify(d int32) {
	s := c.store
	p := s.head[d]
	if p < 0 {
		c.classOf[d] = 0
		return
	}
	if s.prev[p] < 0 { // one path: the usual case
		c.classOf[d] = c.classes.child(0, s.pat[p])
		return
	}
	set := c.set[:0]
	for ; p >= 0; p = s.prev[p] {
		if k := s.pat[p]; !slices.Contains(set, k) {
			set = append(set, k)
		}
	}
	c.set = set
	c.classOf[d] = c.classFor(set)
}

// classFor numbers a set of patterns, sorting it.
func (c *columns) classFor(set []int32) int32 {
	slices.Sort(set)
	class := int32(0)
	for _, k := range set {
		class = c.classes.child(class, k)
	}
	return class
}

// join adds a path's pattern to the class of its demand.
func (c *columns) join(d, path int32) {
	s := c.store
	s.pat[path] = c.pattern(s.path(path))
	set := append(c.set[:0], s.pat[path])
	for k := c.classOf[d]; k > 0; k = c.classes.parent[k] {
		if c.classes.last[k] == s.pat[path] {
			return
		}
		set = append(set, c.classes.last[k])
	}
	c.set = set
	c.classOf[d] = c.classFor(set)
}

// pathFor returns a path of the demand that has the pattern, the newest first.
func (c *columns) pathFor(d, pattern int32) int32 {
	s := c.store
	p := s.head[d]
	for ; p >= 0 && s.pat[p] != pattern; p = s.prev[p] {
	}
	return p
}

// patternPrices returns the price of every pattern.
func (c *columns) patternPrices(y, out []float64) []float64 {
	t := c.patterns
	out = grown(out, t.len())
	out[0] = 0
	for i := 1; i < t.len(); i++ {
		out[i] = out[t.parent[i]] + y[t.last[i]]
	}
	return out
}
