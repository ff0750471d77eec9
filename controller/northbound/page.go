package northbound

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lists come in pages: ?limit=N&cursor=C. An answer that is not the last has a
// header Link with rel="next" (RFC 8288), whose address is to be taken as it is.
// A cursor says after which element to go on, so what is added or removed
// meanwhile makes nothing else appear twice or not at all.

const (
	defaultPage = 1000
	maxPage     = 10_000
)

// list registers a list. Elements come in the order of their keys.
func list[T any](a *api, pattern string, fetch func(call) ([]T, error), key func(T) string) {
	a.lists = append(a.lists, pattern)
	route(a, pattern, func(c call, _ none) ([]T, error) {
		limit, err := c.number("limit", defaultPage)
		if err != nil {
			return nil, err
		}
		if limit = min(limit, maxPage); limit == 0 {
			limit = defaultPage
		}
		all, err := fetch(c)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(all, func(x, y T) int { return strings.Compare(key(x), key(y)) })
		if s := c.r.URL.Query().Get("cursor"); s != "" {
			after, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil {
				return nil, NewProblem("invalid", http.StatusBadRequest, "cursor=%q is not one: take it from the Link of the page before", s)
			}
			i, found := slices.BinarySearchFunc(all, string(after), func(x T, k string) int { return strings.Compare(key(x), k) })
			if found {
				i++
			}
			all = all[i:]
		}
		if int64(len(all)) > limit {
			all = all[:limit]
			next := c.r.URL.Query()
			next.Set("limit", strconv.FormatInt(limit, 10))
			next.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(key(all[limit-1]))))
			c.header.Set("Link", "<"+c.r.URL.EscapedPath()+"?"+next.Encode()+`>; rel="next"`)
		}
		return all, nil
	})
}

// sortable is a time in a form whose order as text is that in time.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000") }

// NextPage returns the path of the page after an answer whose headers are h, or "".
func NextPage(h http.Header) string {
	for _, l := range h.Values("Link") {
		if address, isNext := strings.CutSuffix(l, `>; rel="next"`); isNext {
			address = strings.TrimPrefix(address, "<")
			if u, err := url.Parse(address); err == nil && u.Host == "" { // never to somebody else
				return address
			}
		}
	}
	return ""
}

// getAll asks for all pages of a list.
func getAll[T any](ctx context.Context, c *Client, path string) (all []T, err error) {
	for path != "" {
		b, h, err := c.exchangeHeader(ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			return nil, err
		}
		var page []T
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, c.unreadable(path, err)
		}
		all = append(all, page...)
		path = NextPage(h)
	}
	return all, nil
}
