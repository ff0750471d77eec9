package evidence

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// emptyRoot is the root of a log without leaves (RFC 6962 §2.1).
var emptyRoot = tlog.Hash(sha256.Sum256(nil))

// File is a receipt that stands on its own: Body is a leaf of the log, Proof
// leads from it to the root that Checkpoint signs.
type File struct {
	Format string `json:"format"` // "dssn-receipt/1"
	// Body is the leaf exactly as the log holds it.
	Body  []byte   `json:"body"` // base64 in JSON
	Index int64    `json:"index"`
	Proof []string `json:"proof"` // base64 hashes, from the leaf up
	// Checkpoint is the signed note.
	Checkpoint string `json:"checkpoint"`
	// LogKey is the verifier key of the log that issued this; it is trusted only
	// where the reader already trusts it.
	LogKey string `json:"log_key"`
}

// FileFormat is the name of the receipt format.
const FileFormat = "dssn-receipt/1"

// Receipt makes the file of the leaf with that index and text, under the published
// checkpoint if that has the leaf already, else under the newest.
func (l *Log) Receipt(index int64, body []byte) (*File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cp, size := l.published, l.publishedSize
	if index >= size {
		var err error
		if cp, err = l.checkpointLocked(); err != nil {
			return nil, err
		}
		size = l.size
	}
	if index < 0 || index >= size {
		return nil, fmt.Errorf("prove leaf %d: the evidence log has %d leaves", index, size)
	}
	proof, err := tlog.ProveRecord(size, index, l.reader(0, nil))
	if err != nil {
		return nil, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	f := &File{Format: FileFormat, Body: body, Index: index, Checkpoint: string(cp), LogKey: l.verifier, Proof: []string{}}
	for _, h := range proof {
		f.Proof = append(f.Proof, base64.StdEncoding.EncodeToString(h[:]))
	}
	return f, nil
}

// Verified is what a receipt proves.
type Verified struct {
	Body  json.RawMessage // the receipt itself
	Log   string          // origin of the log
	Size  int64           // leaves under the checkpoint
	Index int64
	// Cosigned are the policy's names of the witnesses that cosigned the checkpoint.
	Cosigned []string
}

// VerifyReceipt checks a receipt file offline: the checkpoint is as the policy
// demands, and the body is the leaf that the proof says. The policy's keys are
// known from elsewhere (the node's own state, the operator's web page); without a
// log's key the file's own is used, which proves only that the file agrees with
// itself.
func VerifyReceipt(file []byte, policy Policy) (*Verified, error) {
	var f File
	if err := json.Unmarshal(file, &f); err != nil {
		return nil, fmt.Errorf("the file is not a receipt: %w: ask for it again with `dssn receipt get`", err)
	}
	if f.Format != FileFormat {
		return nil, fmt.Errorf("the file's format is %q, not %q: ask for the receipt again with `dssn receipt get`", f.Format, FileFormat)
	}
	if policy.LogKey == "" {
		policy.LogKey = f.LogKey
	}
	tree, origin, cosigned, err := policy.Open([]byte(f.Checkpoint))
	if err != nil {
		return nil, err
	}
	proof := make(tlog.RecordProof, len(f.Proof))
	for i, p := range f.Proof {
		b, err := base64.StdEncoding.DecodeString(p)
		if err != nil || len(b) != tlog.HashSize {
			return nil, fmt.Errorf("hash %d of the receipt's proof is not 32 bytes of base64: the file was changed", i+1)
		}
		copy(proof[i][:], b)
	}
	if f.Index < 0 || f.Index >= tree.N {
		return nil, fmt.Errorf("the receipt says leaf %d of a log of %d: the file was changed", f.Index, tree.N)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, f.Index, tlog.RecordHash(f.Body)); err != nil {
		return nil, fmt.Errorf("the receipt is not in the log that its checkpoint signs: the file was changed")
	}
	if !json.Valid(f.Body) {
		return nil, fmt.Errorf("the receipt's body is not JSON: it is no receipt of a transfer")
	}
	return &Verified{Body: f.Body, Log: origin, Size: tree.N, Index: f.Index, Cosigned: cosigned}, nil
}

// OpenCheckpoint checks a checkpoint's signature and reads it.
func OpenCheckpoint(msg []byte, verifierKey string) (tree tlog.Tree, origin string, err error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return tree, "", fmt.Errorf("the log's verifier key %q is not one: %w", verifierKey, err)
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return tree, "", fmt.Errorf("the checkpoint is not signed by the log %s that you trust: get the receipt and the key from the same operator", v.Name())
	}
	lines := strings.SplitN(n.Text, "\n", 4)
	if len(lines) < 4 || lines[0] != v.Name() {
		return tree, "", fmt.Errorf("the checkpoint is not of the log %s", v.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || err2 != nil || size < 0 || len(root) != tlog.HashSize || strconv.FormatInt(size, 10) != lines[1] {
		return tree, "", fmt.Errorf("the checkpoint of %s is malformed", v.Name())
	}
	tree.N = size
	copy(tree.Hash[:], root)
	return tree, lines[0], nil
}
