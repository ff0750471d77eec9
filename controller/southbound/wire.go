package southbound

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Procedure is the path of the one stream per node: a Connect protocol
// (connectrpc.com) bidirectional stream of Up and Down, in the codec below,
// over HTTP/2 and mutual TLS 1.3.
const Procedure = "/dssn.southbound.v1/Attach"

// JoinPath is where a JoinRequest is posted, RenewPath a RenewRequest.
const (
	JoinPath  = "/v1/join"
	RenewPath = "/v1/renew"
)

// MaxMessageBytes bounds one message of the stream in either direction.
const MaxMessageBytes = 64 << 20

// ServerName is a name that the controller's certificate always holds, besides
// its addresses.
const ServerName = "controller.dssn"

// RenewRequest asks for a new certificate for the identity key with which the
// connection was authenticated.
type RenewRequest struct {
	CSR []byte `json:"csr"` // DER, as in JoinRequest
}

// RenewResponse carries the new certificate.
type RenewResponse struct {
	Certificate []byte `json:"certificate"` // DER
	CA          []byte `json:"ca"`
}

// Codec writes and reads messages as JSON. It has the methods of a Connect
// codec; its name makes the content type application/connect+json. The zero
// value is ready to use.
type Codec struct{}

// Name returns "json".
func (Codec) Name() string { return "json" }

// Marshal returns v as JSON.
func (Codec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal reads one JSON value and refuses anything behind it. Unknown fields
// are passed over: a newer sender may know more.
func (Codec) Unmarshal(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode a message of %d bytes: %w", len(b), err)
	}
	if d.More() {
		return fmt.Errorf("decode a message of %d bytes: something stands behind it", len(b))
	}
	return nil
}
