package node

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/controller/southbound"
)

// The files of a state directory. Secrets are readable by their owner only, and
// every file is replaced whole.
const (
	fileIdentity      = "node.json"
	fileIdentityKey   = "identity.key"
	fileTunnelKey     = "tunnel.key"
	fileRegistrantKey = "registrant.key"
	fileAssignment    = "assignment.json"
	fileUsage         = "usage.json"
	fileCounters      = "counters"
	fileSettings      = "kernel-settings.json"
	fileLock          = "lock"
	fileSocket        = "node.sock"
	dirDatasets       = "datasets"
)

// Identity is what joining made of a host: the content of node.json.
type Identity struct {
	Name        string          `json:"name"`
	Node        dssn.NodeID     `json:"node"`
	Role        southbound.Role `json:"role"`
	SID         dssn.SID        `json:"sid"`
	Block       netip.Prefix    `json:"block"`
	Institution string          `json:"institution"`
	Registrant  netip.Prefix    `json:"registrant"`
	LogKey      string          `json:"log_key"`
	Controllers []string        `json:"controllers"`
	Certificate []byte          `json:"certificate"` // DER
	CA          []byte          `json:"ca"`          // DER
	// Links are the interfaces, by name or pattern, on which it meets
	// neighbours, unless Options say otherwise.
	Links []string `json:"links"`
	// Transit is who forwards others' packets, unless Options say otherwise.
	Transit Transit `json:"transit,omitempty"`
}

// ErrNotJoined is wrapped by Run's error when the state directory has no identity.
var ErrNotJoined = errors.New("this host has not joined: use `dssn node join URL --token TOKEN`")

// state is an open state directory: its lock is held.
type state struct {
	dir  string
	lock *os.File
}

// openState opens or makes the directory and takes its lock, so that two
// programs never run one node.
func openState(dir string) (*state, error) {
	if dir == "" {
		return nil, fmt.Errorf("no state directory is named: use --state DIR")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another program runs the node of %s: stop it first", dir)
	}
	return &state{dir, f}, nil
}

func (s *state) close() { s.lock.Close() }

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// save replaces a file: whoever reads it sees the old or the new content, also
// after a power cut.
func (s *state) save(name string, text []byte) error { return saveFile(s.path(name), text) }

func saveFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text) // mode 0600
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if d, e := os.Open(filepath.Dir(path)); e == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

func (s *state) saveJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return s.save(name, append(text, '\n'))
}

// loadJSON reads a file into v; an absent one is fs.ErrNotExist.
func (s *state) loadJSON(name string, v any) error {
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", s.path(name), err)
	}
	return nil
}

func (s *state) identity() (*Identity, error) {
	id := &Identity{}
	err := s.loadJSON(fileIdentity, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotJoined
	}
	return id, err
}

// keys are the secrets of a node.
type keys struct {
	identity   ed25519.PrivateKey // its certificate's
	tunnel     *ecdh.PrivateKey   // Curve25519
	registrant ed25519.PrivateKey // signs records; terminals only
}

// loadKeys reads the keys, making those that are absent: a join that is tried
// again uses the same ones.
func (s *state) loadKeys() (k keys, err error) {
	if k.identity, err = s.ed25519Key(fileIdentityKey); err != nil {
		return k, err
	}
	if k.registrant, err = s.ed25519Key(fileRegistrantKey); err != nil {
		return k, err
	}
	v, err := s.key(fileTunnelKey, func() (any, error) { return ecdh.X25519().GenerateKey(rand.Reader) })
	if err != nil {
		return k, err
	}
	var ok bool
	if k.tunnel, ok = v.(*ecdh.PrivateKey); !ok {
		return k, fmt.Errorf("%s holds no Curve25519 key", s.path(fileTunnelKey))
	}
	return k, nil
}

func (s *state) ed25519Key(name string) (ed25519.PrivateKey, error) {
	v, err := s.key(name, func() (any, error) { _, k, err := ed25519.GenerateKey(rand.Reader); return k, err })
	if err != nil {
		return nil, err
	}
	k, ok := v.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", s.path(name))
	}
	return k, nil
}

// key reads a PKCS#8 PEM file or makes it.
func (s *state) key(name string, generate func() (any, error)) (any, error) {
	text, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		k, err := generate()
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		return k, s.save(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a key: restore it from a backup or join again in an empty directory", s.path(name))
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(name), err)
	}
	return k, nil
}
