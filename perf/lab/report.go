package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"dssn"
)

// ReportFormat names the JSON of Run; docs/lab-run.md explains every field.
const ReportFormat = "dssn-lab-run/1"

// Report is what the main job found, dssn-lab-run/1.
type Report struct {
	Format      string            `json:"format"`
	At          time.Time         `json:"at"`
	Program     string            `json:"program"`
	Seconds     float64           `json:"seconds"`
	Host        Host              `json:"host"`
	Lab         ReportLab         `json:"lab"`
	Steps       []ReportStep      `json:"steps"`
	Join        ReportJoin        `json:"join"`
	Dataset     ReportDataset     `json:"dataset"`
	Refusal     ReportRefusal     `json:"refusal"`
	Grant       ReportGrant       `json:"grant"`
	Reservation ReportReservation `json:"reservation"`
	Transfer    ReportTransfer    `json:"transfer"`
	Compared    ReportCheck       `json:"check"`
	Stock       ReportStock       `json:"stock"`
	Paths       []ReportPath      `json:"paths"`
	Cut         ReportCut         `json:"cut"`
	Kill        ReportKill        `json:"kill"`
	Scenario    []ReportAction    `json:"scenario,omitempty"`
	Usage       ReportUsage       `json:"usage"`
	Bill        ReportBill        `json:"bill"`
	Receipt     ReportReceipt     `json:"receipt"`
}

// The parts of a Report, in the words of docs/lab-run.md.
type (
	// ReportAction is what a scenario did, so long after the fetch began.
	ReportAction struct {
		AtSeconds float64 `json:"at_seconds"`
		Did       string  `json:"did"`
	}
	// ReportLab is the network.
	ReportLab struct {
		Topology  string `json:"topology"`
		Backbone  int    `json:"backbone"`
		Terminals int    `json:"terminals"`
		Holder    string `json:"holder"`
		Consumer  string `json:"consumer"`
	}
	// ReportStep is one of the eight steps.
	ReportStep struct {
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
	}
	// ReportJoin is how the nodes became a network.
	ReportJoin struct {
		Nodes    int     `json:"nodes"`
		Seconds  float64 `json:"seconds"`
		Steering bool    `json:"steering"`
	}
	// ReportDataset is what was published.
	ReportDataset struct {
		ID    dssn.DataID    `json:"id"`
		Name  string         `json:"name"`
		Files int            `json:"files"`
		Bytes dssn.ByteCount `json:"bytes"`
		Seed  uint64         `json:"seed"`
		Root  string         `json:"root"`
	}
	// ReportRefusal is the fetch before the grant.
	ReportRefusal struct {
		Exit   int    `json:"exit"`
		Reason string `json:"reason"`
	}
	// ReportGrant is the owner's leave.
	ReportGrant struct {
		To    string    `json:"to"`
		Until time.Time `json:"until"`
	}
	// ReportReservation is the admitted bandwidth.
	ReportReservation struct {
		ID        dssn.ReservationID `json:"id"`
		Committed dssn.Bandwidth     `json:"committed_bps"`
		Ceiling   dssn.Bandwidth     `json:"ceiling_bps"`
		Allocated dssn.Bandwidth     `json:"allocated_bps"`
		Path      []string           `json:"path"`
	}
	// ReportTransfer is the fetch by identifier.
	ReportTransfer struct {
		ID      string         `json:"id"`
		Bytes   dssn.ByteCount `json:"bytes"`
		Seconds float64        `json:"seconds"`
		Goodput dssn.Bandwidth `json:"goodput_bps"`
		Root    string         `json:"root"`
	}
	// ReportCheck is the lab's own comparison.
	ReportCheck struct {
		SHA256 string         `json:"sha256"`
		Bytes  dssn.ByteCount `json:"bytes"`
	}
	// ReportStock is what a stock client fetched.
	ReportStock struct {
		Client string         `json:"client"`
		Path   string         `json:"path"`
		Bytes  dssn.ByteCount `json:"bytes"`
	}
	// ReportPath is one path that was used.
	ReportPath struct {
		Hops        []string     `json:"hops"`
		Carrier     dssn.Carrier `json:"carrier"`
		FromPercent float64      `json:"from_percent"`
		// Carried is what the kernel's counters of its links say.
		Carried dssn.ByteCount `json:"carried_bytes"`
	}
	// ReportCut is the cut of a backbone link.
	ReportCut struct {
		Link      string  `json:"link,omitempty"`
		Path      int     `json:"path"` // index of the path in use
		AtPercent float64 `json:"at_percent,omitempty"`
		// The parts of ToFlow: Took is the cut itself, of both ends one after the
		// other, Moved is until the ingress edge used a path without the link. Data
		// may flow before, by the backup routes of the hub at the cut.
		Took    float64 `json:"took_seconds,omitempty"`
		Moved   float64 `json:"moved_seconds,omitempty"`
		ToFlow  float64 `json:"to_flow_seconds,omitempty"`
		Silence float64 `json:"silence_seconds,omitempty"`
		Spared  string  `json:"spared,omitempty"`
	}
	// ReportKill is the death and return of the controller.
	ReportKill struct {
		AtPercent     float64 `json:"at_percent"`
		Away          float64 `json:"away_seconds"`
		BackAtPercent float64 `json:"back_at_percent"`
		Before        int     `json:"reservations_before"`
		After         int     `json:"reservations_after"`
	}
	// ReportUsage is the transfer as each end metered it.
	ReportUsage struct {
		Reservation dssn.ReservationID `json:"reservation"`
		Transfer    string             `json:"transfer"`
		Holder      dssn.ByteCount     `json:"holder_bytes"`
		Receiver    dssn.ByteCount     `json:"receiver_bytes"`
	}
	// ReportBill is the bill by dimension.
	ReportBill struct {
		Institution string           `json:"institution"`
		Currency    string           `json:"currency"`
		Total       string           `json:"total"`
		Lines       []ReportBillLine `json:"lines"`
	}
	// ReportBillLine is one dimension.
	ReportBillLine struct {
		Dimension string `json:"dimension"`
		Subject   string `json:"subject"`
		Quantity  string `json:"quantity"`
		Unit      string `json:"unit"`
		Price     string `json:"price"`
		Amount    string `json:"amount"`
	}
	// ReportReceipt is the receipt and its offline verification.
	ReportReceipt struct {
		FileBytes     int   `json:"file_bytes"`
		Verified      bool  `json:"verified"`
		ForgedRefused bool  `json:"forged_refused"`
		TreeSize      int64 `json:"tree_size"`
	}
)

// ReadReport reads a report and checks its laws; unknown fields are refused.
func ReadReport(text []byte) (*Report, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var r Report
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("read report: something follows the object")
	}
	return &r, r.Check()
}

// Check returns an error that names every law of docs/lab-run.md that r breaks.
func (r *Report) Check() error {
	var errs []error
	law := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	law(r.Format == ReportFormat, "the format is %q, not %q", r.Format, ReportFormat)
	law(len(r.Steps) == 8, "there are %d steps, not 8", len(r.Steps))
	law(r.Join.Nodes == r.Lab.Backbone+r.Lab.Terminals, "%d nodes joined of %d", r.Join.Nodes, r.Lab.Backbone+r.Lab.Terminals)
	n := r.Dataset.Bytes
	law(n > 0 && r.Transfer.Bytes == n && r.Compared.Bytes == n, "published %d bytes, transferred %d, compared %d", n, r.Transfer.Bytes, r.Compared.Bytes)
	law(r.Usage.Holder == n && r.Usage.Receiver == n, "published %d bytes, metered %d at the holder and %d at the receiver", n, r.Usage.Holder, r.Usage.Receiver)
	law(len(r.Dataset.Root) == 64 && r.Transfer.Root == r.Dataset.Root, "published root %q, verified root %q", r.Dataset.Root, r.Transfer.Root)
	law(r.Refusal.Exit == 1 && r.Refusal.Reason != "", "the fetch before the grant exited %d: %q", r.Refusal.Exit, r.Refusal.Reason)
	v := r.Reservation
	law(v.Committed <= v.Allocated && v.Allocated <= v.Ceiling && v.Allocated > 0, "committed %s, allocated %s, ceiling %s", v.Committed, v.Allocated, v.Ceiling)
	law(r.Usage.Reservation == v.ID && r.Usage.Transfer == r.Transfer.ID, "the usage is of %s and %s", r.Usage.Reservation, r.Usage.Transfer)
	errs = append(errs, r.checkCut()...)
	k := r.Kill
	law(k.AtPercent < k.BackAtPercent && k.BackAtPercent <= 100, "the controller was killed at %.1f %% and back at %.1f %%", k.AtPercent, k.BackAtPercent)
	law(k.Before > 0 && k.Before == k.After, "%d reservations before the kill, %d after", k.Before, k.After)
	law(r.Bill.Total != "" && len(r.Bill.Lines) > 0, "the bill has no total or no lines")
	law(r.Receipt.Verified && r.Receipt.ForgedRefused, "receipt verified %v, forgery refused %v", r.Receipt.Verified, r.Receipt.ForgedRefused)
	return errors.Join(errs...)
}

func (r *Report) checkCut() (errs []error) {
	if len(r.Paths) == 0 {
		return []error{errors.New("no path was used")}
	}
	var carried dssn.ByteCount
	for _, p := range r.Paths {
		carried += p.Carried
	}
	if carried < r.Transfer.Bytes/10*9 {
		errs = append(errs, fmt.Errorf("the links of the paths carried %d bytes of a transfer of %d", carried, r.Transfer.Bytes))
	}
	c := r.Cut
	if c.Spared != "" {
		return errs
	}
	if c.AtPercent < 25 || c.AtPercent > 60 {
		errs = append(errs, fmt.Errorf("the cut came at %.1f %%, not between 25 and 60", c.AtPercent))
	}
	if c.ToFlow <= 0 {
		errs = append(errs, errors.New("no flow was seen after the cut"))
	}
	if c.Path < 0 || c.Path >= len(r.Paths)-1 {
		return append(errs, fmt.Errorf("path %d was cut, of %d that were used: there is none after it", c.Path, len(r.Paths)))
	}
	if !crosses(r.Paths[c.Path].Hops, c.Link) {
		errs = append(errs, fmt.Errorf("the cut link %s is not on the path in use %v", c.Link, r.Paths[c.Path].Hops))
	}
	for _, p := range r.Paths[c.Path+1:] {
		if crosses(p.Hops, c.Link) {
			errs = append(errs, fmt.Errorf("the cut link %s is on the later path %v", c.Link, p.Hops))
		}
	}
	return errs
}

// crosses reports whether the path passes the link "a-b" in either direction.
func crosses(hops []string, link string) bool {
	for i := 1; i < len(hops); i++ {
		if link == hops[i-1]+"-"+hops[i] || link == hops[i]+"-"+hops[i-1] {
			return true
		}
	}
	return false
}

// Print writes the summary for people.
func (r *Report) Print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("network", "%d hubs, %d terminals, joined in %.2f s%s", r.Lab.Backbone, r.Lab.Terminals, r.Join.Seconds, steering(r.Join.Steering))
	row("dataset", "%s  %s in %d files", r.Dataset.ID, r.Dataset.Bytes, r.Dataset.Files)
	row("digest", "%s…  verified on arrival; every byte compared", r.Transfer.Root[:16])
	row("goodput", "%s  (%s in %.2f s, through the cut and the kill)", gbit(r.Transfer.Goodput), r.Transfer.Bytes, r.Transfer.Seconds)
	for i, p := range r.Paths {
		name := "path"
		if i > 0 {
			name = "then"
		}
		row(name, "%s  from %.0f %%, %s", strings.Join(p.Hops, " → "), p.FromPercent, p.Carried)
	}
	if r.Cut.Spared != "" {
		row("cut", "none: %s", r.Cut.Spared)
	} else {
		row("cut to flow", "%.0f ms  (%s cut at %.0f %%, which took %.0f ms; silent for %.0f ms; path seen to move after %.0f ms)",
			r.Cut.ToFlow*1000, r.Cut.Link, r.Cut.AtPercent, r.Cut.Took*1000, r.Cut.Silence*1000, r.Cut.Moved*1000)
	}
	row("controller", "killed at %.0f %%, back at %.0f %%, %d of %d reservations kept", r.Kill.AtPercent, r.Kill.BackAtPercent, r.Kill.After, r.Kill.Before)
	row("usage", "holder %d bytes, receiver %d bytes%s", r.Usage.Holder, r.Usage.Receiver, equal(r.Usage.Holder == r.Usage.Receiver))
	row("bill", "%s %s for %s", r.Bill.Total, r.Bill.Currency, r.Bill.Institution)
	row("receipt", "verified offline at tree size %d; a forged copy is refused", r.Receipt.TreeSize)
	row("took", "%.1f s", r.Seconds)
}

func steering(on bool) string {
	if on {
		return ", steered by carriers"
	}
	return ", on shortest paths (this kernel does not shift carriers)"
}

func equal(same bool) string {
	if same {
		return ", equal"
	}
	return ", NOT equal"
}

func gbit(b dssn.Bandwidth) string { return fmt.Sprintf("%.2f Gbit/s", float64(b)/1e9) }

// stepNames are the names of the eight steps, in order.
var stepNames = []string{"join", "publish", "refuse and grant", "reserve", "fetch", "cut", "kill", "account"}
