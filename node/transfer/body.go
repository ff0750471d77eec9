package transfer

import (
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// body is the response to a request for a file. It watches what goes out
// without leaving the sendfile path: net/http copies a single range by ReadFrom
// straight from the file, which knows its own offset.
type body struct {
	http.ResponseWriter
	file     *os.File
	index    int
	ledger   *ledger
	transfer string // empty for a stock client
	conn     *conn  // nil unless the server listens by Serve
	stock    *stockConn
	watch    *watchedFile // of several ranges; else nil
	sent     uint64       // content bytes written to the connection
}

// content returns what ServeContent reads: the file itself, or, for several
// ranges, which have no sendfile path anyway, the file with every read noted.
func (b *body) content(rangeHeader string) io.ReadSeeker {
	if !strings.Contains(rangeHeader, ",") {
		return b.file
	}
	b.watch = &watchedFile{File: b.file, body: b}
	return b.watch
}

// ReadFrom implements io.ReaderFrom.
func (b *body) ReadFrom(r io.Reader) (int64, error) {
	if lr, ok := r.(*io.LimitedReader); ok && lr.R == io.Reader(b.file) && lr.N > 0 {
		if at, err := b.file.Seek(0, io.SeekCurrent); err == nil {
			if b.transfer != "" {
				b.ledger.serve(b.transfer, b.index, span{at, at + lr.N})
			}
			if b.stock != nil {
				// With the header out of the way the body begins at a known
				// position of the stream.
				http.NewResponseController(b.ResponseWriter).Flush()
				b.stock.begin(b.conn.position(), uint64(lr.N))
			}
		}
	}
	rf, ok := b.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{b.ResponseWriter}, r)
	}
	n, err := rf.ReadFrom(r)
	if b.watch == nil {
		b.sent += uint64(n)
	}
	return n, err
}

// Unwrap serves http.ResponseController.
func (b *body) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// finish closes the books of this response.
func (b *body) finish() {
	if b.stock == nil || b.sent == 0 {
		return
	}
	http.NewResponseController(b.ResponseWriter).Flush()
	b.stock.end(b.conn.position(), b.sent)
}

// watchedFile notes what is read from a file.
type watchedFile struct {
	*os.File
	body *body
}

// Read implements io.Reader.
func (f *watchedFile) Read(p []byte) (int, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	if f.body.transfer != "" {
		f.body.ledger.serve(f.body.transfer, f.body.index, span{at, at + int64(n)})
	}
	f.body.sent += uint64(n)
	return n, err
}

// stockConn is the account of a stock client's connection: each of its
// responses is a stretch of the stream, and content counts as delivered when
// TCP's acknowledgement has passed it. Guarded by Server.mu.
type stockConn struct {
	server  *Server
	id      string
	conn    *conn
	request *request // the latest one
	settled uint64   // content bytes of responses acknowledged whole
	open    []stretch
}

// stretch is one response's body in the stream. While it is being sent, end is
// where it will end if all goes well.
type stretch struct{ end, content uint64 }

// stockOf returns the account of c for the dataset of q. A connection has one
// local address and so one dataset.
func (s *Server) stockOf(c *conn, q *request) *stockConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.conns[c]
	if k == nil {
		k = &stockConn{server: s, id: newTransferID(), conn: c}
		s.conns[c] = k
		c.beforeClose(func() { s.settleConn(k, true) })
	}
	k.request = q
	return k
}

func (k *stockConn) begin(at, content uint64) {
	k.server.mu.Lock()
	defer k.server.mu.Unlock()
	k.open = append(k.open, stretch{at + content, content})
}

// end corrects the stretch that begin announced, or announces one that ended.
func (k *stockConn) end(at, content uint64) {
	k.server.mu.Lock()
	defer k.server.mu.Unlock()
	if n := len(k.open); n > 0 && k.open[n-1].end >= at {
		k.open = k.open[:n-1]
	}
	k.open = append(k.open, stretch{at, content})
}

// settle brings all stock accounts up to what TCP says now.
func (s *Server) settle() {
	s.mu.RLock()
	list := make([]*stockConn, 0, len(s.conns))
	for _, k := range s.conns {
		list = append(list, k)
	}
	s.mu.RUnlock()
	for _, k := range list {
		s.settleConn(k, false)
	}
}

func (s *Server) settleConn(k *stockConn, closing bool) {
	acked, ok := k.conn.acknowledged()
	if !ok {
		acked = k.conn.position()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[k.conn]; !ok {
		return
	}
	k.settleLocked(acked, closing, s.opts.Now())
	if closing {
		delete(s.conns, k.conn)
	}
}

// settleLocked counts the content below position acked of the stream.
func (k *stockConn) settleLocked(acked uint64, closing bool, now time.Time) {
	for len(k.open) > 1 && k.open[0].end <= acked {
		k.settled += k.open[0].content
		k.open = k.open[1:]
	}
	n := k.settled
	for _, s := range k.open {
		if missing := s.end - min(s.end, acked); missing < s.content {
			n += s.content - missing
		}
	}
	q := k.request
	k.server.ledger.stock(k.id, q.source, q.id, q.terms, n, closing, now)
}
