package transfer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dssn"
	"dssn/content"
)

// Store keeps on disk what a holder offers, so that a node which starts again
// offers the same:
//
//	DIR/IDENTIFIER/offering.json   the record and where its files are
//	DIR/IDENTIFIER/manifest
//	DIR/IDENTIFIER/outboard
//	DIR/deliveries.json            transfers served, as Server.Deliveries gave them
//
// A dataset's folder appears whole or not at all. The published files stay
// where they are and are not copied. Calls of one Store must not overlap,
// except Publish with any other.
type Store struct{ dir string }

const draftPrefix = ".draft-"

// offeringFile is offering.json.
type offeringFile struct {
	Record content.Record `json:"record"`
	Dir    string         `json:"dir"`
}

// OpenStore opens or makes a store, and removes what a killed Publish left.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of published datasets: %w", err)
	}
	drafts, err := filepath.Glob(filepath.Join(dir, draftPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, d := range drafts {
		if err := os.RemoveAll(d); err != nil {
			return nil, fmt.Errorf("remove an unfinished publication: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// ErrTaken is what Publication.Register returns when the registry knows the
// identifier under another subject; Publish then tries the next salt.
var ErrTaken = errors.New("another dataset has this identifier")

// maxSalt is far beyond what 48 bits of hash will ever need.
const maxSalt = 16

// Publication is a dataset about to be published.
type Publication struct {
	Dir        string // an absolute path
	Name       string
	Grade      dssn.Grade
	Category   dssn.Category
	Registrant netip.Prefix
	Key        ed25519.PrivateKey // of the registrant
	Now        time.Time          // becomes the record's Created
	// Progress is that of content.BuildOptions.
	Progress func(done, total dssn.ByteCount)
	// Register tells the registry. Nothing is kept unless it returns nil.
	Register func(context.Context, *content.Record) error
}

// Publish hashes a folder, signs its record, registers it and keeps what the
// server needs. On any error nothing has changed here. Publishing the same
// files again gives the same identifier.
func (s *Store) Publish(ctx context.Context, p Publication) (Offering, error) {
	if err := content.CheckName(p.Name); err != nil {
		return Offering{}, err
	}
	if !filepath.IsAbs(p.Dir) {
		return Offering{}, fmt.Errorf("publish %s: give the folder's whole path, from /", p.Dir)
	}
	draft, err := os.MkdirTemp(s.dir, draftPrefix)
	if err != nil {
		return Offering{}, fmt.Errorf("publish %s: %w", p.Dir, err)
	}
	defer os.RemoveAll(draft) // nothing after the rename
	o, err := s.draft(ctx, p, draft)
	if err != nil {
		return Offering{}, err
	}
	for {
		if err := o.Record.Sign(p.Key); err != nil {
			return Offering{}, err
		}
		err := p.Register(ctx, &o.Record)
		if err == nil {
			break
		}
		if o.Record.Salt++; !errors.Is(err, ErrTaken) || o.Record.Salt > maxSalt {
			return Offering{}, err
		}
	}
	return s.keep(o, draft)
}

// draft builds the dataset into the folder draft.
func (s *Store) draft(ctx context.Context, p Publication, draft string) (o Offering, err error) {
	f, err := os.Create(filepath.Join(draft, "outboard"))
	if err != nil {
		return o, fmt.Errorf("publish %s: %w", p.Dir, err)
	}
	defer f.Close()
	ds, err := content.Build(ctx, p.Dir, content.BuildOptions{Outboard: f, Progress: p.Progress})
	if err != nil {
		return o, fullDisk(s.dir, err)
	}
	if err := f.Sync(); err != nil {
		return o, fullDisk(s.dir, fmt.Errorf("publish %s: %w", p.Dir, err))
	}
	if err := writeSynced(filepath.Join(draft, "manifest"), ds.Text); err != nil {
		return o, fullDisk(s.dir, err)
	}
	return Offering{Dir: p.Dir, Manifest: ds.Text, Record: content.Record{
		Name: p.Name, Registrant: p.Registrant, Grade: p.Grade, Category: p.Category,
		Root: ds.Root, Length: ds.Length, Files: uint64(len(ds.Manifest.Files)), Created: p.Now,
	}}, nil
}

// keep gives the draft its name, in place of an earlier publication of the
// same files.
func (s *Store) keep(o Offering, draft string) (Offering, error) {
	b, err := json.MarshalIndent(offeringFile{o.Record, o.Dir}, "", "  ")
	if err != nil {
		return Offering{}, err
	}
	if err := writeSynced(filepath.Join(draft, "offering.json"), append(b, '\n')); err != nil {
		return Offering{}, fullDisk(s.dir, err)
	}
	dir := s.path(o.Record.ID)
	if err := os.RemoveAll(dir); err != nil {
		return Offering{}, fmt.Errorf("replace an earlier publication: %w", err)
	}
	if err := os.Rename(draft, dir); err != nil {
		return Offering{}, fmt.Errorf("keep the publication: %w", err)
	}
	o.Outboard = filepath.Join(dir, "outboard")
	return o, syncFolder(s.dir)
}

func (s *Store) path(id dssn.DataID) string {
	return filepath.Join(s.dir, strings.ReplaceAll(id.String(), ":", "-"))
}

// Offerings returns what was published and not removed. Datasets that cannot be
// read are left out and named in the error, which does not spoil the others.
func (s *Store) Offerings() (out []Offering, err error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read the published datasets: %w", err)
	}
	var bad []error
	for _, n := range names {
		if !n.IsDir() || strings.HasPrefix(n.Name(), draftPrefix) {
			continue
		}
		o, err := readOffering(filepath.Join(s.dir, n.Name()))
		if err != nil {
			bad = append(bad, fmt.Errorf("the published dataset %s cannot be offered: %w; publish it again", n.Name(), err))
			continue
		}
		out = append(out, o)
	}
	return out, errors.Join(bad...)
}

func readOffering(dir string) (Offering, error) {
	b, err := os.ReadFile(filepath.Join(dir, "offering.json"))
	if err != nil {
		return Offering{}, err
	}
	var f offeringFile
	if err := json.Unmarshal(b, &f); err != nil {
		return Offering{}, err
	}
	m, err := os.ReadFile(filepath.Join(dir, "manifest"))
	if err != nil {
		return Offering{}, err
	}
	return Offering{Record: f.Record, Dir: f.Dir, Manifest: m, Outboard: filepath.Join(dir, "outboard")}, nil
}

// Remove forgets a publication; its files stay where they are.
func (s *Store) Remove(id dssn.DataID) error {
	if err := os.RemoveAll(s.path(id)); err != nil {
		return fmt.Errorf("remove the publication of %s: %w", id, err)
	}
	return nil
}

// SaveDeliveries keeps what Server.Deliveries returned. Call it now and then,
// and before the numbers are reported to anybody.
func (s *Store) SaveDeliveries(list []Served) error {
	b, err := json.Marshal(list)
	if err == nil {
		name := filepath.Join(s.dir, "deliveries.json")
		if err = writeSynced(name+".new", b); err == nil {
			err = os.Rename(name+".new", name)
		}
	}
	if err != nil {
		return fullDisk(s.dir, fmt.Errorf("keep the transfers served: %w", err))
	}
	return nil
}

// LoadDeliveries returns what SaveDeliveries kept last, for Server.Restore.
func (s *Store) LoadDeliveries() ([]Served, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "deliveries.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Served
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the transfers served: %w", err)
	}
	return list, nil
}

func writeSynced(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
