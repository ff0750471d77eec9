package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"dssn"
	"dssn/content"
)

// The headers of Get's requests: the node that must answer (another refuses with
// 421 Misdirected Request, RFC 9110 §15.5.20, because a transfer has one holder
// and the address may come to lead to a second one), the transfer's identifier,
// and how many of its bytes are verified already. A holder that knows nothing of a transfer of which
// bytes are verified has been restarted since it served them.
const (
	HolderHeader   = "Dssn-Holder"
	TransferHeader = "Dssn-Transfer"
	VerifiedHeader = "Dssn-Verified"
)

// The protocol's own paths.
const (
	pathMeta      = "/.dssn/"
	pathRecord    = "/.dssn/record"
	pathManifest  = "/.dssn/manifest"
	pathOutboard  = "/.dssn/outboard/"
	pathTransfers = "/.dssn/transfers/"
)

// request is one admitted request on its way.
type request struct {
	*Server
	w      http.ResponseWriter
	r      *http.Request
	source netip.Addr
	id     dssn.DataID
	terms  Terms
	data   *dataset
}

// ask is what Admit is asked.
func (q *request) ask() (source netip.Addr, data dssn.DataID, transfer string) {
	path := q.r.URL.Path
	transfer = q.r.Header.Get(TransferHeader)
	if id, ok := strings.CutPrefix(path, pathTransfers); ok {
		transfer = id
	} else if transfer == "" && (strings.HasPrefix(path, pathMeta) || strings.HasSuffix(path, "/")) {
		transfer = Metadata
	}
	return q.source, q.id, transfer
}

// Metadata is what Admit is asked for instead of a transfer where somebody looks at
// what a dataset is: its record, manifest, outboards and listings.
const Metadata = "metadata"

func (q *request) route() {
	path := q.r.URL.Path
	h := q.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if id, ok := strings.CutPrefix(path, pathTransfers); ok {
		q.acknowledge(id)
		return
	}
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		problem(q.w, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
		return
	}
	switch {
	case path == pathRecord:
		b, _ := json.Marshal(q.data.record)
		q.bytes("application/json", append(b, '\n'))
	case path == pathManifest:
		h.Set("ETag", etag(q.data.record.Root))
		q.bytes("text/plain; charset=utf-8", q.data.text)
	case strings.HasPrefix(path, pathOutboard):
		q.outboard(strings.TrimPrefix(path, pathOutboard))
	case strings.HasSuffix(path, "/"):
		q.listing(strings.TrimPrefix(path, "/"))
	default:
		q.file(strings.TrimPrefix(path, "/"))
	}
}

func etag(d content.Digest) string { return `"` + d.String() + `"` }

// bytes answers with something small that is in memory.
func (q *request) bytes(kind string, b []byte) {
	q.w.Header().Set("Content-Type", kind)
	http.ServeContent(q.w, q.r, "", q.data.record.Created, bytes.NewReader(b))
}

// listing answers with what lies below a folder, as JSON if that is asked for
// and else as text: size, root and path of each file on a line.
func (q *request) listing(folder string) {
	files := []content.File{}
	for _, f := range q.data.manifest.Files {
		if strings.HasPrefix(f.Path, folder) {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		problem(q.w, http.StatusNotFound, fmt.Sprintf("%q has no folder %q: `curl` the address alone lists its files", q.data.record.Name, folder))
		return
	}
	q.w.Header().Set("Vary", "Accept")
	if strings.Contains(q.r.Header.Get("Accept"), "application/json") {
		b, _ := json.Marshal(struct {
			Record content.Record `json:"record"`
			Files  []content.File `json:"files"`
		}{q.data.record, files})
		q.bytes("application/json", append(b, '\n'))
		return
	}
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%14d  %s  %s\n", uint64(f.Size), f.Root, f.Path)
	}
	q.bytes("text/plain; charset=utf-8", b.Bytes())
}

func (q *request) notFound(path string) {
	problem(q.w, http.StatusNotFound, fmt.Sprintf("%q holds no file %q: `curl` the address alone lists its files", q.data.record.Name, path))
}

// outboard answers with one file's outboard.
func (q *request) outboard(path string) {
	i, ok := q.data.manifest.Find(path)
	if !ok {
		q.notFound(path)
		return
	}
	f := q.data.manifest.Files[i]
	q.w.Header().Set("ETag", `"outboard-`+f.Root.String()+`"`)
	q.w.Header().Set("Content-Type", "application/octet-stream")
	at := q.data.at[i]
	http.ServeContent(q.w, q.r, "", q.data.record.Created, io.NewSectionReader(q.data.outboard, at, q.data.at[i+1]-at))
}

// file answers with one file or ranges of it.
func (q *request) file(path string) {
	i, ok := q.data.manifest.Find(path)
	if !ok {
		q.notFound(path)
		return
	}
	f := q.data.manifest.Files[i]
	file, err := q.data.dir.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err == nil {
		defer file.Close()
		var fi os.FileInfo
		if fi, err = file.Stat(); err == nil && (!fi.Mode().IsRegular() || fi.Size() != int64(f.Size)) {
			err = fmt.Errorf("it has changed since it was published")
		}
	}
	if err != nil {
		q.opts.Logger.Warn("a published file is gone or changed", "data", q.id, "file", path, "err", err)
		problem(q.w, http.StatusGone, fmt.Sprintf("%q is no longer what was published: ask the holder to publish again", path))
		return
	}
	transfer := q.r.Header.Get(TransferHeader)
	if _, udp := q.r.Context().Value(connKey{}).(*kcpConn); udp && transfer == "" {
		// A stock client's bytes are counted by what its TCP acknowledges.
		problem(q.w, http.StatusBadRequest, "over KCP a transfer acknowledges what it verified: use `dssn get`, or TCP")
		return
	}
	if transfer != "" && q.r.Method == http.MethodGet {
		verified, _ := strconv.ParseUint(q.r.Header.Get(VerifiedHeader), 10, 64)
		if err := q.ledger.open(transfer, q.source, q.id, q.terms, verified, q.opts.Now()); err != nil {
			problem(q.w, http.StatusConflict, err.Error())
			return
		}
	}
	b := &body{ResponseWriter: q.w, file: file, index: i, ledger: &q.ledger, transfer: transfer}
	b.conn, _ = q.r.Context().Value(connKey{}).(*conn)
	if c, ok := q.r.Context().Value(connKey{}).(paced); ok {
		q.pacing.use(c, q.source, q.id, q.terms.Rate)
	}
	if transfer == "" && q.r.Method == http.MethodGet && b.conn != nil {
		b.stock = q.stockOf(b.conn, q)
	}
	h := q.w.Header()
	h.Set("ETag", etag(f.Root))
	h.Set("Content-Type", "application/octet-stream")
	http.ServeContent(b, q.r, "", q.data.record.Created, b.content(q.r.Header.Get("Range")))
	b.finish()
}

// acknowledgement is what a receiver posts.
type acknowledgement struct {
	ContentBytes uint64 `json:"content_bytes"` // verified, distinct, cumulative
	Done         bool   `json:"done"`
}

func (q *request) acknowledge(id string) {
	if q.r.Method != http.MethodPost {
		q.w.Header().Set("Allow", "POST")
		problem(q.w, http.StatusMethodNotAllowed, "acknowledgements are posted")
		return
	}
	var a acknowledgement
	dec := json.NewDecoder(limitBody(q.w, q.r))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		problem(q.w, http.StatusBadRequest, "the acknowledgement is not {\"content_bytes\": N, \"done\": true or false}")
		return
	}
	n, err := q.ledger.acknowledge(id, q.source, q.id, q.terms, a.ContentBytes, a.Done, uint64(q.data.record.Length), q.opts.Now())
	if err != nil {
		problem(q.w, http.StatusConflict, err.Error())
		return
	}
	if a.Done && q.opts.Keep != nil {
		if err := q.opts.Keep(); err != nil {
			q.opts.Logger.Error("the end of a transfer cannot be kept", "transfer", id, "err", err)
			problem(q.w, http.StatusServiceUnavailable, "the holder cannot keep its books now: acknowledge again in a moment")
			return
		}
	}
	q.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(q.w).Encode(acknowledgement{ContentBytes: n, Done: a.Done})
}
