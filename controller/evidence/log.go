// Package evidence keeps the log that anyone can check: a Merkle tree of leaves
// (RFC 6962 hashes, golang.org/x/mod/sumdb/tlog), whose size and root are
// signed as a checkpoint (a C2SP tlog-checkpoint, which is a signed note), and
// served as C2SP tlog-tiles. Witnesses cosign it (witness.go); a policy says whose
// word is asked for (policy.go). A receipt file carries all that is needed to check
// it with nothing but the log's verifier key.
//
// It does not know what leaves mean, and keeps nothing itself: hashes and
// leaves are in the Store. A Log may be used from any goroutine; appends must
// come from one.
package evidence

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is fixed by C2SP tlog-tiles.
const tileHeight = 8

// MaxLeafBytes is what fits an entry bundle's two-byte length.
const MaxLeafBytes = 1<<16 - 1

// Store keeps leaves and hashes; package journal has one.
type Store interface {
	LogSize() (int64, error)
	AppendLog(first int64, leaves [][]byte, hashIndex int64, hashes [][32]byte) error
	LogLeaves(first, end int64) ([][]byte, error)
	LogHashes(indexes []int64) ([][32]byte, error)
}

// NewKey draws a signing key for a log of that name (its origin line), and the
// verifier key that goes with it.
func NewKey(origin string) (signer, verifier string, err error) {
	return note.GenerateKey(rand.Reader, origin)
}

// Log is an append-only log.
type Log struct {
	store    Store
	signer   note.Signer
	verifier string

	mu   sync.Mutex
	size int64
	// cached is the checkpoint of cachedSize leaves.
	cached     []byte
	cachedSize int64
	// published is a checkpoint with witnesses' signatures; see SetPublished.
	published     []byte
	publishedSize int64
}

// Open opens the log in store; signer and verifier are as NewKey made them.
func Open(store Store, signer, verifier string) (*Log, error) {
	s, err := note.NewSigner(signer)
	if err != nil {
		return nil, fmt.Errorf("open evidence log: its signing key: %w", err)
	}
	if _, err := note.NewVerifier(verifier); err != nil {
		return nil, fmt.Errorf("open evidence log: its verifier key: %w", err)
	}
	n, err := store.LogSize()
	if err != nil {
		return nil, fmt.Errorf("open evidence log: %w", err)
	}
	return &Log{store: store, signer: s, verifier: verifier, size: n, cachedSize: -1}, nil
}

// Size returns the number of leaves.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// VerifierKey returns the key with which checkpoints are checked.
func (l *Log) VerifierKey() string { return l.verifier }

// reader reads hashes, those not yet stored from memory.
func (l *Log) reader(base int64, fresh []tlog.Hash) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		var ask, where []int64
		for i, x := range indexes {
			if x >= base && x-base < int64(len(fresh)) {
				out[i] = fresh[x-base]
			} else {
				ask, where = append(ask, x), append(where, int64(i))
			}
		}
		got, err := l.store.LogHashes(ask)
		if err != nil {
			return nil, err
		}
		for i, h := range got {
			out[where[i]] = h
		}
		return out, nil
	})
}

// Append adds leaves, the first of which has the given index. Leaves that are
// already there are compared instead: a replay must say what was said before.
func (l *Log) Append(first int64, leaves [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first > l.size {
		return fmt.Errorf("append to evidence log: leaf %d comes after %d leaves", first, l.size)
	}
	if known := min(l.size-first, int64(len(leaves))); known > 0 {
		old, err := l.store.LogLeaves(first, first+known)
		if err != nil {
			return fmt.Errorf("compare evidence: %w", err)
		}
		for i := range old {
			if string(old[i]) != string(leaves[i]) {
				return fmt.Errorf("leaf %d of the evidence log is not what the journal says: one of them was changed, or an older version wrote them and this one decides otherwise; restore the last backup, or go on with that version", first+int64(i))
			}
		}
		leaves, first = leaves[known:], first+known
	}
	if len(leaves) == 0 {
		return nil
	}
	base := tlog.StoredHashCount(l.size)
	var fresh []tlog.Hash
	for i, leaf := range leaves {
		if len(leaf) > MaxLeafBytes {
			return fmt.Errorf("leaf %d of the evidence log has %d bytes, more than %d", first+int64(i), len(leaf), MaxLeafBytes)
		}
		hs, err := tlog.StoredHashes(l.size+int64(i), leaf, l.reader(base, fresh))
		if err != nil {
			return fmt.Errorf("hash leaf %d of the evidence log: %w", first+int64(i), err)
		}
		fresh = append(fresh, hs...)
	}
	plain := make([][32]byte, len(fresh))
	for i, h := range fresh {
		plain[i] = h
	}
	if err := l.store.AppendLog(first, leaves, base, plain); err != nil {
		return err
	}
	l.size += int64(len(leaves))
	return nil
}

// Checkpoint returns the signed note of the present size and root.
func (l *Log) Checkpoint() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checkpointLocked()
}

func (l *Log) checkpointLocked() ([]byte, error) {
	if l.cachedSize == l.size {
		return l.cached, nil
	}
	root := tlog.Hash{}
	var err error
	if l.size > 0 {
		root, err = tlog.TreeHash(l.size, l.reader(0, nil))
	} else {
		root = emptyRoot
	}
	if err != nil {
		return nil, fmt.Errorf("root of the evidence log: %w", err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", l.signer.Name(), l.size, base64.StdEncoding.EncodeToString(root[:]))
	msg, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	l.cached, l.cachedSize = msg, l.size
	return msg, nil
}

// Tile returns the bytes at a C2SP tlog-tiles path below the log's address:
// "tile/<L>/<N>[.p/<W>]" or "tile/entries/<N>[.p/<W>]". ok is false where there
// is no such tile (yet).
func (l *Log) Tile(path string) (data []byte, ok bool, err error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return nil, false, nil
	}
	if e, isEntries := strings.CutPrefix(rest, "entries/"); isEntries {
		rest = "data/" + e
	}
	t, err := tlog.ParseTilePath("tile/" + strconv.Itoa(tileHeight) + "/" + rest)
	if err != nil {
		return nil, false, nil
	}
	size := l.Size()
	level := max(t.L, 0)
	nodes := size >> (tileHeight * level) // full nodes of that level
	if t.N > nodes>>tileHeight || t.N<<tileHeight+int64(t.W) > nodes {
		return nil, false, nil
	}
	if t.L < 0 {
		leaves, err := l.store.LogLeaves(t.N<<tileHeight, t.N<<tileHeight+int64(t.W))
		if err != nil {
			return nil, false, err
		}
		for _, leaf := range leaves {
			data = binary.BigEndian.AppendUint16(data, uint16(len(leaf)))
			data = append(data, leaf...)
		}
		return data, true, nil
	}
	data, err = tlog.ReadTileData(t, l.reader(0, nil))
	return data, err == nil, err
}
