package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
)

// Local is what Get needs from this host's node: the catalogue's answer and
// somebody to report to.
type Local interface {
	// Resolve returns the signed record and the terms under which this host
	// may fetch it. The error of a refusal is one sentence for people.
	Resolve(ctx context.Context, id dssn.DataID) (Resolution, error)
	// Report tells the node how far a transfer has come; End is EndReceiver.
	Report(ctx context.Context, d southbound.Delivery) error
	// Path says, for people, which way data from the holder comes now.
	Path(ctx context.Context, holder dssn.NodeID) (string, error)
}

// Resolution is the catalogue's answer to a permitted resolve.
type Resolution struct {
	Record content.Record
	// Holder is the node that the identifier's address leads to.
	Holder      dssn.NodeID
	Reservation dssn.ReservationID
}

// Options are what to get and how. Only URI, Out and Local are required.
type Options struct {
	// URI is dssn://[ID]/PATH; PATH names a file, or a folder by its trailing
	// slash, and without PATH the whole dataset is fetched.
	URI string
	// Out is the folder to write into; it is made if it is missing.
	Out   string
	Local Local
	// Streams is how many connections fetch at once; 0 means 4.
	Streams int
	// Transport carries them.
	Transport Transport
	// Progress is called about five times a second, and at the end, from one
	// goroutine at a time.
	Progress func(Progress)
	// Dial opens connections to the holder; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Patience is how long no byte may arrive before Get gives up; 0 means a
	// minute. What is there is kept, and the same command goes on from there.
	Patience time.Duration

	wait time.Duration // before the first retry; 0 means firstWait
}

// Progress is how far a Get has come.
type Progress struct {
	Bytes dssn.ByteCount `json:"bytes"` // verified and on disk
	Total dssn.ByteCount `json:"total"`
	// Rate is that of the last seconds.
	Rate dssn.Bandwidth `json:"rate_bps"`
	// ETA is how long the rest takes at Rate; 0 if that cannot be said.
	ETA   time.Duration `json:"eta_ns"`
	Files int           `json:"files"` // whole
	Path  string        `json:"path,omitempty"`
}

// Result is what Get achieved.
type Result struct {
	Record      content.Record     `json:"record"`
	Transfer    string             `json:"transfer"`
	Holder      dssn.NodeID        `json:"holder"`
	Reservation dssn.ReservationID `json:"reservation"`
	Files       int                `json:"files"`
	Bytes       dssn.ByteCount     `json:"bytes"` // of those files
	// Fetched came over the network in this run and was verified; Resumed was
	// verified in an earlier run, Reused was found in the output folder.
	Fetched dssn.ByteCount `json:"fetched_bytes"`
	Resumed dssn.ByteCount `json:"resumed_bytes"`
	Reused  dssn.ByteCount `json:"reused_bytes"`
	// ContentBytes is the number that both ends have: distinct bytes
	// verified during this transfer.
	ContentBytes dssn.ByteCount `json:"content_bytes"`
	Duration     time.Duration  `json:"duration_ns"`
	Rate         dssn.Bandwidth `json:"rate_bps"` // Fetched over Duration
	// Digest is the content root that every byte was verified against.
	Digest content.Digest `json:"digest"`
	// Retries counts connections that failed and were replaced.
	Retries int `json:"retries"`
	// Earlier are the transfers that this get began with other holders, before
	// the identifier's address led to this one. Each was accounted by itself.
	Earlier []string `json:"earlier_transfers,omitempty"`
}

const (
	defaultStreams  = 4
	defaultPatience = time.Minute
	// grace, in first waits, is how long a holder may refuse what the
	// catalogue has just allowed: its next Assignment is on its way.
	grace = 60
)

// Get fetches a dataset, or a part of it, by identifier. Every 16 KiB is
// verified before it is written, files get their names when they are whole, and
// files that are there already are checked and kept, never overwritten. After
// an error, a cancelled ctx or a kill, the same call goes on where it ended. A
// *content.CorruptError in the error's chain names what is not as published.
// Where the identifier's address leads to another holder on the way, because the
// first one went away or a nearer one appeared, Get goes on from that one.
func Get(ctx context.Context, o Options) (*Result, error) {
	id, path, err := dssn.ParseDataURI(o.URI)
	if err != nil {
		return nil, err
	}
	if o.Streams <= 0 {
		o.Streams = defaultStreams
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.wait <= 0 {
		o.wait = firstWait
	}
	began, lastByte := time.Now(), time.Now()
	var earlier []string
	heard := map[string]uint64{}
	var fetched dssn.ByteCount
	for wait := o.wait; ; wait = min(2*wait, lastWait) {
		g := &get{Options: o, began: began, heard: heard}
		r, err := g.once(ctx, id, path)
		var m *moved
		if err == nil {
			r.Earlier, r.Fetched = earlier, r.Fetched+fetched
			r.Resumed -= min(fetched, r.Resumed)
			r.Rate = dssn.RateOf(r.Fetched, r.Duration)
		}
		if !errors.As(err, &m) {
			return r, err
		}
		if n := g.fetchedBytes(); n > 0 {
			fetched += n
			lastByte, wait = time.Now(), o.wait
			earlier = append(earlier, g.transfer)
		}
		if time.Since(lastByte) > o.Patience {
			return nil, gaveUp(o.Patience, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// once gets from the holder that the catalogue names now. A *moved error means
// that the address leads to another.
func (g *get) once(ctx context.Context, id dssn.DataID, path string) (*Result, error) {
	var err error
	if g.res, err = g.Local.Resolve(ctx, id); err != nil {
		return nil, err
	}
	if err := g.res.Record.Verify(); err != nil {
		return nil, err
	}
	if g.res.Record.ID != id {
		return nil, fmt.Errorf("asked for %s and got the record of %s: ask the catalogue's operator", id, g.res.Record.ID)
	}
	g.remote = newRemote(id, g.res.Holder, g.Transport, g.Dial)
	g.remote.firstWait = g.wait
	defer g.remote.close()
	manifest, err := g.manifest(ctx)
	if err != nil {
		return nil, err
	}
	if g.out, err = openOutput(g.Out); err != nil {
		return nil, err
	}
	defer g.out.close()
	if err := g.plan(ctx, manifest, path); err != nil {
		return nil, err
	}
	return g.run(ctx)
}

// get is one running Get.
type get struct {
	Options
	res    Resolution
	began  time.Time
	remote *remote
	out    *output

	transfer string
	journal  *journal
	queue    *queue
	files    []*file // that were asked for
	others   int64   // counted bytes of files that were not
	unasked  bool    // the journal knows of such files
	before   uint64  // counted when this run began
	// heard is what holders that this Get left have acknowledged, by transfer.
	heard   map[string]uint64
	total   dssn.ByteCount
	resumed dssn.ByteCount
	reused  dssn.ByteCount
}

// manifest fetches and verifies the manifest, with Patience.
func (g *get) manifest(ctx context.Context) (*content.Manifest, error) {
	var text []byte
	graceEnds := time.Now().Add(grace * g.remote.firstWait)
	err := g.remote.insist(ctx, g.Patience, func() (err error) {
		text, err = g.remote.small(ctx, pathManifest, content.MaxManifestBytes)
		if r := (*Refusal)(nil); errors.As(err, &r) && time.Now().Before(graceEnds) {
			return &temporary{err}
		}
		return err
	})
	if t := (*temporary)(nil); errors.As(err, &t) {
		err = gaveUp(g.Patience, err)
	}
	if err != nil {
		return nil, err
	}
	r := &g.res.Record
	if content.Digest(content.Hash(text)) != r.Root {
		return nil, fmt.Errorf("the manifest of %q is not the one its record names: ask the holder to publish again", r.Name)
	}
	m, err := content.ParseManifest(text)
	if err != nil {
		return nil, err
	}
	if m.Length() != r.Length || uint64(len(m.Files)) != r.Files {
		return nil, fmt.Errorf("the record of %q says %d files and %s, its manifest %d and %s: ask the registrant to publish again",
			r.Name, r.Files, r.Length, len(m.Files), m.Length())
	}
	return m, nil
}

// run fetches what plan found missing, then settles with both ends.
func (g *get) run(ctx context.Context) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.before = g.queue.counted()
	reporter := g.startReporter(ctx)
	err := g.fetchAll(ctx, cancel)
	count := g.queue.counted()
	if err != nil {
		reporter.stop()
		if m := (*moved)(nil); errors.As(err, &m) {
			g.heard[g.transfer] = max(reporter.acked, g.before)
		}
		g.journal.file.Close()
		return nil, err
	}
	if err := reporter.settle(ctx, count); err != nil {
		g.journal.file.Close()
		return nil, err
	}
	fetched := dssn.ByteCount(g.queue.fetchedBytes())
	took := time.Since(g.began)
	g.journal.file.Close()
	if !g.unasked {
		g.out.finish(g.res.Record.ID)
	}
	return &Result{
		Record: g.res.Record, Transfer: g.transfer, Holder: g.res.Holder, Reservation: g.res.Reservation,
		Files: len(g.files), Bytes: g.total, Fetched: fetched, Resumed: g.resumed, Reused: g.reused,
		ContentBytes: dssn.ByteCount(count), Duration: took, Rate: dssn.RateOf(fetched, took),
		Digest: g.res.Record.Root, Retries: g.queue.retries(),
	}, nil
}

// fetchedBytes returns what this run has verified.
func (g *get) fetchedBytes() dssn.ByteCount {
	if g.queue == nil {
		return 0
	}
	return dssn.ByteCount(g.queue.fetchedBytes())
}

// leave ends a transfer whose holder the address no longer leads to: what that
// holder has acknowledged is what it delivered, or, where that is not known, what
// the journal has counted. An error changes nothing that could be done here; the
// transfer is then shown as running.
func (g *get) leave(ctx context.Context, transfer string, holder dssn.NodeID, count uint64) {
	if n, known := g.heard[transfer]; known {
		count = n
	}
	if count == 0 {
		return
	}
	g.Local.Report(context.WithoutCancel(ctx), southbound.Delivery{
		Transfer: transfer, End: southbound.EndReceiver, Data: g.res.Record.ID, Peer: holder,
		Reservation: g.res.Reservation, ContentBytes: count, Started: g.began.UTC(), Updated: time.Now().UTC(), Done: true,
	})
}

// transferText returns the text form of a transfer's identifier.
func transferText(b [transferIDDigits / 2]byte) string { return hex.EncodeToString(b[:]) }

// pathError returns the error below a *os.PathError, whose path repeats what
// the sentence around it says.
func pathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
