package northbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Conditions of requests, which the core has to judge because only there nothing
// can come between looking and doing:
//
//	Idempotency-Key: TEXT   the same request said again gets the same answer, for
//	                        a day, also after a crash (draft-ietf-httpapi-idempotency-key-header)
//	If-Match: "ETAG"        do it only if the thing is as it was (RFC 9110 §13.1.1)
//
// The handler puts them into the request's context and whoever submits an input
// to the core takes them from there.

// Condition is what must hold of a request that changes something.
type Condition struct {
	Client string // who asks: keys of different clients are different
	Key    string // "" for none
	Digest []byte // of what is asked for; the same key with another is refused
	Match  string // If-Match; "" for none

	taken int
}

// Take returns the key and If-Match for the next input of a request. A request
// that makes several has a key for each, and its If-Match is for the first.
// It is called by the request's own goroutine.
func (c *Condition) Take() (key, match string) {
	key, match = c.Key, c.Match
	if c.taken++; c.taken > 1 {
		match = ""
		if key != "" {
			key += "\n" + strconv.Itoa(c.taken) // no header has a line end
		}
	}
	return key, match
}

type conditionKey struct{}

// ConditionOf returns the condition of the request that ctx belongs to, or nil.
func ConditionOf(ctx context.Context) *Condition {
	c, _ := ctx.Value(conditionKey{}).(*Condition)
	return c
}

// WithCondition returns a context of a request with a condition.
func WithCondition(ctx context.Context, c *Condition) context.Context {
	return context.WithValue(ctx, conditionKey{}, c)
}

// condition reads a request's condition; nil where it has none.
func condition(r *http.Request, by WhoAmI, q any) (*Condition, error) {
	key, match := r.Header.Get("Idempotency-Key"), r.Header.Get("If-Match")
	if r.Method == http.MethodGet || key == "" && match == "" {
		return nil, nil
	}
	if len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, NewProblem("invalid", http.StatusBadRequest, "the Idempotency-Key has more than 255 characters or some that are not printable: use a UUID")
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(r.Method+" "+r.URL.RequestURI()+"\n"), body...))
	c := &Condition{Client: "operator", Key: key, Digest: sum[:], Match: match}
	switch {
	case by.Person != "":
		c.Client = "person " + by.Person
	case by.Node != "":
		c.Client = "node " + by.Node
	}
	return c, nil
}

// ETag is the entity tag of a thing: the beginning of the SHA-256 of its JSON.
// It is strong: nothing of the thing can change without it.
func ETag(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return etagOf(b)
}

func etagOf(json []byte) string {
	sum := sha256.Sum256(json)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// Matches reports whether an If-Match or If-None-Match names an entity tag.
func Matches(header, etag string) bool {
	return slices.ContainsFunc(strings.Split(header, ","), func(t string) bool {
		t = strings.TrimSpace(t)
		return t == "*" || t == etag
	})
}

// tagged are the answers that are the thing itself, whoever changed it.
var tagged = []reflect.Type{reflect.TypeFor[Reservation](), reflect.TypeFor[Grant](), reflect.TypeFor[Freeze](), reflect.TypeFor[Person]()}
