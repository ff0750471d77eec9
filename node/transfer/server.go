package transfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"dssn"
	"dssn/content"
)

// ServerOptions are what a Server needs from its node.
type ServerOptions struct {
	// Holder is the node that serves. Requests that name another are refused;
	// zero serves all.
	Holder dssn.NodeID
	// Admit decides whether source may reach data, on every request and again
	// at Recheck. Transfer is the one that the request belongs to, empty for a stock
	// client's, Metadata for no content. An error is one sentence and becomes the 403's detail. Required:
	// there is no default that lets anybody in.
	Admit func(source netip.Addr, data dssn.DataID, transfer string) (Terms, error)
	// Keep makes what Deliveries returns durable. It is called before an
	// acknowledgement that ends a transfer is answered: the receiver goes away
	// after the answer and will not repeat it. After an error the receiver is
	// asked to try again. Nil keeps nothing.
	Keep func() error
	// Now is time.Now if nil.
	Now func() time.Time
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Offering is one dataset held here.
type Offering struct {
	Record content.Record
	// Dir is the folder that was published.
	Dir string
	// Manifest is the manifest's text, Outboard the file that content.Build wrote.
	Manifest []byte
	Outboard string
}

// Server answers on identifiers: the address at which a request arrived says
// which dataset it is for. It is an http.Handler; Serve also accounts what
// stock clients received and paces connections.
type Server struct {
	opts     ServerOptions
	ledger   ledger
	pacing   pacing
	http     *http.Server
	underway underway

	mu       sync.RWMutex // guards the fields below
	datasets map[dssn.DataID]*dataset
	conns    map[*conn]*stockConn
}

// dataset is an Offering opened. Requests hold it while they run, so that
// withdrawing does not close files under them.
type dataset struct {
	record   content.Record
	manifest *content.Manifest
	text     []byte
	at       []int64 // where each file's outboard begins; len(Files)+1
	dir      *os.Root
	outboard *os.File
}

type connKey struct{}

// NewServer returns a server that offers nothing yet.
func NewServer(opts ServerOptions) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	s := &Server{opts: opts, datasets: map[dssn.DataID]*dataset{}, conns: map[*conn]*stockConn{}}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return s
}

// Offer makes a dataset reachable. The record must verify and the manifest must
// be the record's. Offering an identifier again replaces it.
func (s *Server) Offer(o Offering) error {
	if err := o.Record.Verify(); err != nil {
		return err
	}
	if content.Digest(content.Hash(o.Manifest)) != o.Record.Root {
		return fmt.Errorf("offer %q: the manifest is not the record's: publish the dataset again", o.Record.Name)
	}
	m, err := content.ParseManifest(o.Manifest)
	if err != nil {
		return fmt.Errorf("offer %q: %w", o.Record.Name, err)
	}
	d := &dataset{record: o.Record, manifest: m, text: o.Manifest, at: make([]int64, len(m.Files)+1)}
	for i, f := range m.Files {
		d.at[i+1] = d.at[i] + content.OutboardSize(f.Size)
	}
	if d.dir, err = os.OpenRoot(o.Dir); err != nil {
		return fmt.Errorf("offer %q: open the folder %s: %w", o.Record.Name, o.Dir, errors.Unwrap(err))
	}
	if d.outboard, err = os.Open(o.Outboard); err != nil {
		d.dir.Close()
		return fmt.Errorf("offer %q: open its outboard: %w", o.Record.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The replaced dataset's files close when the last request that holds it
	// is done: os.Root and os.File have finalizers.
	s.datasets[o.Record.ID] = d
	return nil
}

// Withdraw stops offering a dataset. Requests that have begun go on.
func (s *Server) Withdraw(id dssn.DataID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.datasets, id)
}

// Offered returns the records of what is offered, in no order.
func (s *Server) Offered() (out []content.Record) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, d := range s.datasets {
		out = append(out, d.record)
	}
	return out
}

// Deliveries returns every transfer that was ever served and not forgotten.
func (s *Server) Deliveries() []Served {
	s.settle()
	return s.ledger.list()
}

// Restore takes over the transfers of an earlier process, as its Deliveries
// returned them. Call it before Serve.
func (s *Server) Restore(list []Served) { s.ledger.restore(list) }

// Forget drops a finished transfer, once its usage is recorded elsewhere.
func (s *Server) Forget(transfer string) { s.ledger.forget(transfer) }

// Serve answers on l until Close. A nil error means Close was called.
func (s *Server) Serve(l net.Listener) error {
	return s.serveOn(listener{l})
}

func (s *Server) serveOn(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends all listeners and connections.
func (s *Server) Close() error { return s.http.Close() }

// ServeHTTP answers for the dataset at whose address the request arrived.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		problem(w, http.StatusNotFound, "the request arrived at no address: ask at a dataset's identifier")
		return
	}
	ap, err := netip.ParseAddrPort(local.String())
	if err != nil {
		problem(w, http.StatusNotFound, "the request arrived at no IPv6 address: ask at a dataset's identifier")
		return
	}
	id := dssn.DataIDFrom16(ap.Addr().As16())
	s.serve(w, r, id)
}

// Handler serves one dataset wherever the request arrived: for gateways.
func (s *Server) Handler(id dssn.DataID) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, id) })
}

// serve is the way of every request: who asks, what for, may it, which part.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, id dssn.DataID) {
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		problem(w, http.StatusForbidden, "the request came from no address")
		return
	}
	if want := r.Header.Get(HolderHeader); want != "" && !s.opts.Holder.IsZero() && want != s.opts.Holder.String() {
		problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("%s is held by %s here, not by %s: look it up in the catalogue again", id, s.opts.Holder, want))
		return
	}
	req := &request{Server: s, w: w, r: r, source: source.Addr().WithZone(""), id: id}
	s.underway.begin(req) // before it is admitted: a Recheck from now on finds it
	defer s.underway.end(req)
	if req.terms, err = s.opts.Admit(req.ask()); err != nil {
		problem(w, http.StatusForbidden, err.Error())
		return
	}
	s.mu.RLock()
	req.data = s.datasets[id]
	s.mu.RUnlock()
	if req.data == nil {
		problem(w, http.StatusNotFound, fmt.Sprintf("%s is not held here: look it up in the catalogue again", id))
		return
	}
	req.route()
}

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func problem(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

// newTransferID draws an identifier.
func newTransferID() string {
	var b [transferIDDigits / 2]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// limitBody bounds what a request may say.
func limitBody(w http.ResponseWriter, r *http.Request) io.Reader {
	return http.MaxBytesReader(w, r.Body, 4<<10)
}
