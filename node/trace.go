package node

import (
	"encoding/json"
	"net/http"

	"dssn/dataplane/worker"
)

// TraceRequest asks what this node's engine would do with a packet.
type TraceRequest struct {
	Packet []byte `json:"packet"` // base64 in JSON
	// Outside means that it is a sealed datagram from a peer.
	Outside bool `json:"outside"`
}

// serveTrace has the packet's worker run its stages on it: nothing is sent,
// counted or policed.
func (n *running) serveTrace(w http.ResponseWriter, r *http.Request) {
	var q TraceRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4*worker.MaxPacket)).Decode(&q); err != nil || len(q.Packet) > worker.MaxPacket {
		writeProblem(w, http.StatusBadRequest, "the request is not one packet of at most 65535 bytes: give it as `dssn trace` does")
		return
	}
	if n.engine == nil {
		writeProblem(w, http.StatusNotFound, "a backbone node opens no packet and has no tables for it: ask at a terminal")
		return
	}
	steps, err := n.engine.Trace(q.Packet, q.Outside)
	if err != nil {
		writeProblem(w, http.StatusServiceUnavailable, "the node is stopping: start it again with `dssn node run`")
		return
	}
	writeJSON(w, steps)
}
