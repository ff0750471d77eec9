package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"dssn"
	"dssn/content"
	"dssn/node/transfer"
)

// The files of one dataset's folder in the state directory: what is needed to
// answer on its identifier. The data itself stays where it was published from.
const (
	fileRecord   = "record.json"
	fileManifest = "manifest"
	fileOutboard = "outboard"
	filePlace    = "place"
)

// loadOfferings returns the datasets that this node published. One that cannot
// be offered any more is left out, with its reason.
func (s *state) loadOfferings() (out []transfer.Offering, problems []error) {
	list, err := os.ReadDir(s.path(dirDatasets))
	if err != nil {
		return nil, nil // none yet
	}
	for _, e := range list {
		if _, err := dssn.ParseDataID(e.Name()); err != nil {
			os.RemoveAll(filepath.Join(s.path(dirDatasets), e.Name())) // of a publish that was cut short
			continue
		}
		o, err := loadOffering(filepath.Join(s.path(dirDatasets), e.Name()))
		if err != nil {
			problems = append(problems, fmt.Errorf("dataset %s: %w", e.Name(), err))
			continue
		}
		out = append(out, o)
	}
	return out, problems
}

func loadOffering(dir string) (o transfer.Offering, err error) {
	text, err := os.ReadFile(filepath.Join(dir, fileRecord))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o.Record); err != nil {
		return o, err
	}
	if o.Manifest, err = os.ReadFile(filepath.Join(dir, fileManifest)); err != nil {
		return o, err
	}
	place, err := os.ReadFile(filepath.Join(dir, filePlace))
	if err != nil {
		return o, err
	}
	o.Dir, o.Outboard = string(place), filepath.Join(dir, fileOutboard)
	return o, nil
}

// PublishRequest asks a node to publish a folder.
type PublishRequest struct {
	Dir      string        `json:"dir"`
	Name     string        `json:"name"`
	Grade    dssn.Grade    `json:"grade"`
	Category dssn.Category `json:"category"`
}

// PublishEvent is one line of the answer: how many bytes are hashed, or at last
// the record, or what is in the way.
type PublishEvent struct {
	Done    dssn.ByteCount  `json:"done,omitempty"`
	Total   dssn.ByteCount  `json:"total,omitempty"`
	Record  *content.Record `json:"record,omitempty"`
	Problem *Problem        `json:"problem,omitempty"`
}

// Problem is an RFC 9457 document as far as this API uses it.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"` // one sentence with a next step
}

// registration is what the controller is asked to put into its catalogue.
type registration struct {
	Record *content.Record `json:"record"`
}

// maxSalts bounds how often an identifier that is taken is minted again.
const maxSalts = 8

// publish reads a folder, mints and signs its record, registers it and begins
// to answer on its identifier. After an error nothing of it is left.
func (n *running) publish(ctx context.Context, r PublishRequest, progress func(done, total dssn.ByteCount)) (*content.Record, error) {
	if n.server == nil {
		return nil, errors.New("a backbone node publishes nothing: publish at an access terminal")
	}
	if err := content.CheckName(r.Name); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(r.Dir) {
		return nil, fmt.Errorf("the folder %q is not an absolute path", r.Dir)
	}
	if err := os.MkdirAll(n.state.path(dirDatasets), 0o700); err != nil {
		return nil, fmt.Errorf("make room for the dataset: %w", err)
	}
	work, err := os.MkdirTemp(n.state.path(dirDatasets), ".publish-*")
	if err != nil {
		return nil, fmt.Errorf("make room for the dataset: %w", err)
	}
	defer os.RemoveAll(work)
	d, err := buildInto(ctx, work, r.Dir, progress)
	if err != nil {
		return nil, err
	}
	record := &content.Record{Name: r.Name, Registrant: n.identity.Registrant, Grade: r.Grade, Category: r.Category,
		Root: d.Root, Length: d.Length, Files: uint64(len(d.Manifest.Files)), Created: n.now()}
	if err := n.register(ctx, record); err != nil {
		return nil, err
	}
	final := filepath.Join(n.state.path(dirDatasets), record.ID.String())
	if err := n.keep(work, final, r.Dir, record, d.Text); err != nil {
		return nil, err
	}
	o, err := loadOffering(final)
	if err == nil {
		err = n.server.Offer(o)
	}
	if err != nil {
		return nil, err
	}
	n.feed(DataHeld{n.heldData()})
	return record, nil
}

func buildInto(ctx context.Context, work, dir string, progress func(done, total dssn.ByteCount)) (*content.Dataset, error) {
	f, err := os.OpenFile(filepath.Join(work, fileOutboard), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the outboard: %w", err)
	}
	d, err := content.Build(ctx, dir, content.BuildOptions{Outboard: f, Progress: progress})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return d, err
}

// register signs the record and has it registered, with another salt where the
// identifier belongs to another subject.
func (n *running) register(ctx context.Context, record *content.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if err := record.Sign(n.keys.registrant); err != nil {
			return err
		}
		var answer json.RawMessage
		err := postJSON(ctx, n.client, n.uplink.url()+"/v1/datasets", registration{record}, &answer)
		if err == nil {
			return nil
		}
		var p *problem
		if errors.As(err, &p) && p.Status == http.StatusConflict && record.Salt < maxSalts && n.collides(ctx, record) {
			record.Salt++
			continue
		}
		return err
	}
}

// collides reports whether the catalogue knows the record's identifier under
// other content: two subjects whose 48-bit hashes are equal.
func (n *running) collides(ctx context.Context, record *content.Record) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.uplink.url()+"/v1/datasets/"+record.ID.String(), nil)
	if err != nil {
		return false
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var known registration
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&known)
	return err == nil && resp.StatusCode == http.StatusOK && known.Record != nil && known.Record.ID == record.ID && known.Record.Root != record.Root
}

// keep moves a finished dataset to its place. Publishing the same again
// replaces it.
func (n *running) keep(work, final, dir string, record *content.Record, manifest []byte) error {
	text, err := json.MarshalIndent(record, "", "\t")
	if err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	for name, text := range map[string][]byte{fileRecord: text, fileManifest: manifest, filePlace: []byte(dir)} {
		if err := saveFile(filepath.Join(work, name), text); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("replace the dataset: %w", err)
	}
	if err := os.Rename(work, final); err != nil {
		return fmt.Errorf("keep the dataset: %w", err)
	}
	return nil
}

// heldData lists the identifiers that are answered on.
func (n *running) heldData() (held []dssn.DataID) {
	for _, r := range n.server.Offered() {
		held = append(held, r.ID)
	}
	return held
}
