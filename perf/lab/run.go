package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dssn"
)

// RunOptions say how the main job shall be run.
type RunOptions struct {
	BootOptions
	Size       dssn.ByteCount // of the dataset
	Seed       uint64
	Committed  dssn.Bandwidth
	Ceiling    dssn.Bandwidth
	ReportPath string // written at the end; empty for none
	// Scenario is a dssn-scenario/1 text to be played from the moment the fetch
	// begins until it ends, beside the job's own cut and kill; empty for none.
	Scenario string
	Version  string // of the program, for the report
}

// Where in the transfer the link is cut and the controller killed.
const (
	cutAt  = 0.32
	killAt = 0.50
	awayAt = 0.12 // the controller stays away for this share of the transfer
)

// Run makes a lab, does the main job in it by the commands of a user, which are
// written to w with what they print, removes the lab and returns the report.
// Labs that a killed run left behind are removed first. After an error nothing
// is left either, unless the error says so.
func Run(ctx context.Context, o RunOptions, w io.Writer) (report *Report, err error) {
	began := time.Now()
	if err := hasSpace(os.TempDir(), 2*o.Size+o.Size/4+64*dssn.MiB); err != nil {
		return nil, err
	}
	if _, _, err := stockClient(); err != nil {
		return nil, err
	}
	orphans, err := RemoveOrphans()
	if err != nil {
		return nil, err
	}
	for _, id := range orphans {
		fmt.Fprintf(w, "removed lab %s, which a killed run had left behind\n", id)
	}
	if o.Scenario != "" {
		if err := CheckScenario(o.BootOptions, o.Scenario); err != nil {
			return nil, err
		}
	}
	l, sh, err := raise(o.BootOptions, w)
	if err != nil {
		return nil, err
	}
	r := &runner{RunOptions: o, lab: l, sh: sh, w: w, report: newReport(o, l, began)}
	err = r.all(ctx)
	if err != nil {
		fmt.Fprint(w, r.lastWords())
	}
	r.title("clean up", "remove everything that was made")
	if down := l.Down(); down != nil {
		err = errors.Join(err, down)
	}
	if err != nil {
		return nil, err
	}
	r.report.Seconds = seconds(time.Since(began))
	return r.report, r.report.Check()
}

func newReport(o RunOptions, l *Lab, began time.Time) *Report {
	holder, consumer := l.hubOf(l.Terminals()[0]), l.hubOf(l.Terminals()[1])
	return &Report{Format: ReportFormat, At: began.UTC().Truncate(time.Second), Program: o.Version, Host: thisHost(),
		Lab: ReportLab{Topology: l.Graph.Name, Backbone: len(l.Backbone()), Terminals: len(l.Terminals()), Holder: holder, Consumer: consumer}}
}

// runner carries the main job from step to step.
type runner struct {
	RunOptions
	lab    *Lab
	sh     *shell
	w      io.Writer
	report *Report

	holder, consumer string // terminals
	source, sink     string // folders
	uri              string
}

// all is the main job: the eight steps.
func (r *runner) all(ctx context.Context) error {
	t := r.lab.Terminals()
	r.holder, r.consumer = t[0], t[1]
	r.source, r.sink = filepath.Join(r.lab.data, "published"), filepath.Join(r.lab.data, "fetched")
	from, to := r.report.Lab.Holder, r.report.Lab.Consumer
	fmt.Fprintf(r.w, "lab %s: %d hubs and 2 terminals of %s, each a process in a network namespace of its own\n",
		r.lab.Plan.ID, len(r.lab.Backbone()), r.lab.Graph.Name)
	for _, s := range []struct {
		name, what string
		do         func(context.Context) error
	}{
		{stepNames[0], "a controller, and every node joins it with a one-time token", r.join},
		{stepNames[1], "the " + from + " institution publishes a folder of " + r.Size.String(), r.publish},
		{stepNames[2], "the " + to + " institution is refused, then granted by the owner", r.grant},
		{stepNames[3], "it asks for bandwidth", r.reserve},
		{"fetch, cut, kill", "it fetches by identifier, while a link is cut and the controller killed", r.transfer},
		{stepNames[7], "what was used, what it costs, and a receipt that anyone can check", r.account},
	} {
		r.title(s.name, s.what)
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if slices.Contains(stepNames, s.name) {
			r.report.Steps = append(r.report.Steps, ReportStep{s.name, seconds(time.Since(began))})
		}
	}
	return nil
}

func (r *runner) title(name, what string) {
	fmt.Fprintf(r.w, "\n%s\n", r.sh.paint("1;36", "── "+name+": "+what+" "+strings.Repeat("─", max(2, 90-len(name)-len(what)))))
}

func (r *runner) say(format string, args ...any) {
	r.sh.mu.Lock()
	defer r.sh.mu.Unlock()
	fmt.Fprintf(r.w, "%s\n", r.sh.paint("33", "  * "+fmt.Sprintf(format, args...)))
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Second)
}

// lastWords are the ends of the logs of programs that matter after a failure.
func (r *runner) lastWords() string {
	var b strings.Builder
	for _, name := range []string{"controller", r.holder, r.consumer} {
		if p := r.lab.processes[name]; p != nil {
			fmt.Fprintf(&b, "\n%s wrote last:\n%s\n", name, p.LogTail(12))
		}
	}
	return b.String()
}

// join is step 1.
func (r *runner) join(ctx context.Context) error {
	if err := r.lab.startController(ctx, r.sh); err != nil {
		return err
	}
	began := time.Now()
	if err := r.lab.joinAll(ctx, r.sh); err != nil {
		return err
	}
	r.report.Join.Nodes = len(r.lab.Backbone()) + len(r.lab.Terminals())
	r.report.Join.Seconds = seconds(time.Since(began))
	s, err := r.sh.status(ctx)
	if err != nil {
		return err
	}
	r.report.Join.Steering = steered(s)
	r.say("%d nodes joined and act on their assignments after %.2f s", r.report.Join.Nodes, r.report.Join.Seconds)
	return nil
}

// publish is step 2.
func (r *runner) publish(ctx context.Context) error {
	d, err := makeDataset(r.source, r.Size, r.Seed)
	if err != nil {
		return err
	}
	var record struct {
		ID     dssn.DataID    `json:"id"`
		Root   string         `json:"root"`
		Length dssn.ByteCount `json:"length"`
	}
	name := "forecast-" + time.Now().UTC().Format("2006-01-02")
	if _, err := r.sh.run(ctx, line{node: r.holder, value: &record,
		args: []string{"dssn", "publish", r.source, "--name", name, "--grade", "2", "--category", "meteorology"}}); err != nil {
		return err
	}
	if record.Length != d.Bytes {
		return fmt.Errorf("%d bytes were published of a dataset of %d", record.Length, d.Bytes)
	}
	r.uri = record.ID.URI()
	r.report.Dataset = ReportDataset{ID: record.ID, Name: name, Files: d.Files, Bytes: d.Bytes, Seed: d.Seed, Root: record.Root}
	return nil
}

// grant is step 3.
func (r *runner) grant(ctx context.Context) error {
	said, err := r.sh.run(ctx, line{node: r.consumer, fails: true, args: []string{"dssn", "get", r.uri, "-o", r.sink}})
	if err != nil {
		return err
	}
	if _, err := os.Stat(r.sink); err == nil {
		return errors.New("the refused fetch left something behind at the receiver")
	}
	r.report.Refusal = ReportRefusal{Exit: 1, Reason: strings.TrimPrefix(strings.TrimSpace(said), "dssn: ")}
	until := time.Now().UTC().Add(24 * time.Hour).Truncate(time.Hour)
	r.report.Grant = ReportGrant{To: institution(r.report.Lab.Consumer), Until: until}
	_, err = r.sh.run(ctx, line{node: r.holder, args: []string{"dssn", "grant", r.report.Dataset.ID.String(),
		"--to", r.report.Grant.To, "--until", until.Format(time.RFC3339)}})
	return err
}

// reserve is step 4.
func (r *runner) reserve(ctx context.Context) error {
	var v struct {
		ID        dssn.ReservationID `json:"id"`
		Allocated dssn.Bandwidth     `json:"allocated_bps"`
		Path      []string           `json:"path"`
	}
	if _, err := r.sh.run(ctx, line{node: r.consumer, value: &v, args: []string{"dssn", "reserve", "--to", r.report.Dataset.ID.String(),
		"--committed", r.Committed.String(), "--ceiling", r.Ceiling.String(), "--class", "elastic"}}); err != nil {
		return err
	}
	r.report.Reservation = ReportReservation{ID: v.ID, Committed: r.Committed, Ceiling: r.Ceiling, Allocated: v.Allocated, Path: v.Path}
	return nil
}
