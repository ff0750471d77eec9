package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// The local API, on the Unix socket node.sock of the state directory, which
// only its owner can open:
//
//	GET  /local/status          Status
//	GET  /local/paths?peer=P    []PeerPaths; P is a name, NodeID or SID
//	POST /local/trace           TraceRequest → []worker.Step, by the live tables
//	POST /local/publish         PublishRequest → PublishEvent, one JSON object a line
//	POST /local/deliveries      southbound.Delivery, by whoever receives on this host
//	     /v1/…  /evidence/…     passed to the controller as this node, and so are
//	     /quality-on-demand/v1/…  /qos-profiles/v1/…

func (n *running) listenLocal() (net.Listener, error) {
	path := n.state.path(fileSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the local API: %w", err) // of a killed process
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the local API: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the local API: %w", err)
	}
	return l, nil
}

func (n *running) serveLocal(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /local/status", n.serveStatus)
	mux.HandleFunc("GET /local/paths", n.servePaths)
	mux.HandleFunc("POST /local/trace", n.serveTrace)
	mux.HandleFunc("POST /local/publish", n.servePublish)
	mux.HandleFunc("POST /local/deliveries", n.serveDelivery)
	proxy := n.proxy()
	mux.Handle("/v1/", proxy)
	mux.Handle("/evidence/", proxy)
	// CAMARA's APIs: a program on a terminal asks as that device.
	mux.Handle("/quality-on-demand/v1/", proxy)
	mux.Handle("/qos-profiles/v1/", proxy)
	s := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	s.Serve(l) // ends with s.Close
}

// proxy passes requests on over this node's mutual TLS.
func (n *running) proxy() http.Handler {
	forward := &httputil.ReverseProxy{
		Transport: n.client.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			target, err := url.Parse(n.uplink.url())
			if err != nil {
				return
			}
			r.SetURL(target)
		},
		FlushInterval: -1, // events are shown as they come
		ErrorLog:      slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return
			}
			writeProblem(w, http.StatusBadGateway, fmt.Sprintf("the controller at %s does not answer; traffic goes on as it was, try this again when `dssn status` shows it connected", n.uplink.url()))
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is taken whole first. A controller may answer before it has
		// read it; the first byte of that answer closes the body here, under the
		// goroutine that still sends it, and with its stream the answer is lost.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPassedOn))
		if err != nil {
			writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request cannot be passed on (%v): send at most %d bytes", err, maxPassedOn))
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		forward.ServeHTTP(w, r)
	})
}

// maxPassedOn bounds a request to the controller, in bytes; the controller takes less.
const maxPassedOn = 2 << 20

func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v)
}

func (n *running) serveStatus(w http.ResponseWriter, r *http.Request) {
	s, err := n.status(r.Context())
	if err != nil {
		writeProblem(w, http.StatusServiceUnavailable, "the node is stopping: start it again with `dssn node run`")
		return
	}
	writeJSON(w, s)
}

func (n *running) servePaths(w http.ResponseWriter, r *http.Request) {
	list, err := n.peerPaths(r.Context())
	if err != nil {
		writeProblem(w, http.StatusServiceUnavailable, "the node is stopping: start it again with `dssn node run`")
		return
	}
	want := r.URL.Query().Get("peer")
	out := []PeerPaths{}
	for _, p := range list {
		if want == "" || want == p.Name || want == p.Peer.String() || want == p.SID.String() {
			out = append(out, p)
		}
	}
	if want != "" && len(out) == 0 {
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("%q is no peer of this node: `dssn status` lists them", want))
		return
	}
	writeJSON(w, out)
}

// servePublish answers with one JSON object a line: progress a few times a
// second, at last the record or the problem.
func (n *running) servePublish(w http.ResponseWriter, r *http.Request) {
	var req PublishRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		writeProblem(w, http.StatusBadRequest, "the request to publish cannot be read: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var mu sync.Mutex // progress comes from other goroutines
	e := json.NewEncoder(w)
	say := func(ev PublishEvent) {
		mu.Lock()
		defer mu.Unlock()
		e.Encode(ev)
		http.NewResponseController(w).Flush()
	}
	var last time.Time
	record, err := n.publish(r.Context(), req, func(done, total dssn.ByteCount) {
		if now := n.now(); now.Sub(last) > 100*time.Millisecond || done == total {
			last = now
			say(PublishEvent{Done: done, Total: total})
		}
	})
	if err != nil {
		p := &Problem{Title: "not published", Status: http.StatusUnprocessableEntity, Detail: err.Error()}
		var refused *problem
		if errors.As(err, &refused) {
			p.Status, p.Detail = refused.Status, refused.Error()
		}
		say(PublishEvent{Problem: p})
		return
	}
	say(PublishEvent{Record: record})
}

// serveDelivery takes how far a transfer to this host has come. Peer and
// reservation are filled in from the Assignment where the sender left them out.
func (n *running) serveDelivery(w http.ResponseWriter, r *http.Request) {
	var d southbound.Delivery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&d); err != nil {
		writeProblem(w, http.StatusBadRequest, "the delivery cannot be read: "+err.Error())
		return
	}
	if len(d.Transfer) != 32 || strings.Trim(d.Transfer, "0123456789abcdef") != "" || d.Data.IsZero() {
		writeProblem(w, http.StatusBadRequest, "the delivery names no transfer (32 hexadecimal digits) or no data")
		return
	}
	d.End = southbound.EndReceiver
	now := n.now()
	d.Updated = now
	if d.Started.IsZero() {
		d.Started = now
	}
	if a := n.admission.assignment.Load(); a != nil {
		if d.Peer.IsZero() {
			d.Peer = holderOf(a, d.Data)
		}
		if m := meterOf(a.Meters, d.Data.Addr(), n.identity.Node.Addr(), false); m != nil && d.Reservation == 0 {
			d.Reservation = m.Reservation
		}
	}
	n.usage.delivered(d)
	if d.Done {
		n.reportUsage() // durable and on its way before the receiver goes
	}
	w.WriteHeader(http.StatusNoContent)
}

// holderOf finds the peer that packets to data reach: the longest prefix wins.
func holderOf(a *southbound.Assignment, data dssn.DataID) (best dssn.NodeID) {
	bits := -1
	for _, p := range a.Peers {
		for _, prefix := range p.Allowed {
			if prefix.Contains(data.Addr()) && prefix.Bits() > bits {
				best, bits = p.Node, prefix.Bits()
			}
		}
	}
	return best
}
