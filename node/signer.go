package node

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Signer reads who the node of a state directory is, and the key of its
// certificate, without disturbing a node that runs there: for programs that sign
// in the node's name. The error wraps ErrNotJoined if there is no node.
func Signer(dir string) (*Identity, ed25519.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(dir, fileIdentity))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", dir, ErrNotJoined)
	}
	id := &Identity{}
	if err == nil {
		err = json.Unmarshal(text, id)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the node's identity: %w", err)
	}
	if text, err = os.ReadFile(filepath.Join(dir, fileIdentityKey)); err != nil {
		return nil, nil, fmt.Errorf("read the node's key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("%s is not a key: restore it from a backup", filepath.Join(dir, fileIdentityKey))
	}
	v, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := v.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("%s holds no Ed25519 key", filepath.Join(dir, fileIdentityKey))
	}
	return id, key, nil
}
