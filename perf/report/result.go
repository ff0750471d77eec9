package report

import (
	"encoding/json"
	"slices"
	"time"
)

// Format names the format; it stands first in every file.
const Format = "dssn-perf-result/1"

// Unit is what a value counts. Base units only.
type Unit string

// The units of results.
const (
	BitsPerSecond    Unit = "bps"
	PacketsPerSecond Unit = "pps"
	Seconds          Unit = "s"
	Bytes            Unit = "B"
	Packets          Unit = "packets"
	Ratio            Unit = "ratio" // 0 to 1, as a loss ratio
	CPUSecondsPerGB  Unit = "s/GB"  // user and system time per 10⁹ bytes
	Plain            Unit = "1"     // a number of things
)

// Units lists all units.
var Units = []Unit{BitsPerSecond, PacketsPerSecond, Seconds, Bytes, Packets, Ratio, CPUSecondsPerGB, Plain}

// Better says in which direction a metric is good.
type Better string

// The directions; the empty one means neither.
const (
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Result is one measurement. In JSON, what is empty is absent.
type Result struct {
	Format  string    `json:"format"`
	Kind    string    `json:"kind"`            // what was measured: "iperf", "gen", "rfc2544", "y1564", "stamp", "path", "wire", …
	Title   string    `json:"title,omitempty"` // one line for people
	Program string    `json:"program,omitempty"`
	Command []string  `json:"command"` // exactly as it was started
	At      time.Time `json:"at"`      // beginning, UTC
	Seconds float64   `json:"seconds,omitempty"`

	// Ends are the machines that took part, the one that wrote this first.
	Ends []End `json:"ends,omitempty"`
	// Settings are what was asked for, in the order to show.
	Settings []Setting `json:"settings,omitempty"`
	// Verdict is set by methods that accept or refuse (Y.1564).
	Verdict *Verdict `json:"verdict,omitempty"`

	Metrics       []Metric       `json:"metrics,omitempty"`
	Counts        []Count        `json:"counts,omitempty"`
	Series        []Series       `json:"series,omitempty"`
	Distributions []Distribution `json:"distributions,omitempty"`
	Curves        []Curve        `json:"curves,omitempty"`
	Tables        []Table        `json:"tables,omitempty"`

	// Limits are the tester's own, measured, whether they mattered or not.
	Limits []Limit `json:"limits,omitempty"`
	// Warnings are sentences, each a reason not to trust the result.
	Warnings []string `json:"warnings,omitempty"`

	// Detail is the tool's own report, in its own format.
	Detail json.RawMessage `json:"detail,omitempty"`
	// Signatures stand last and are over everything above.
	Signatures []Signature `json:"signatures,omitempty"`
}

// End is one machine that took part.
type End struct {
	Role    string      `json:"role"` // "client", "server", "tester", "reflector", …
	Name    string      `json:"name,omitempty"`
	CPU     string      `json:"cpu,omitempty"`
	Cores   int         `json:"cores,omitempty"`
	Memory  uint64      `json:"memory_bytes,omitempty"`
	Kernel  string      `json:"kernel,omitempty"`
	Program string      `json:"program,omitempty"` // its version
	Go      string      `json:"go,omitempty"`
	Load    float64     `json:"load,omitempty"` // runnable tasks, averaged over the minute before
	NICs    []Interface `json:"nics,omitempty"`
	// Modes are what was obtained, not what was asked: {"XDP","native, copy"},
	// {"timestamps","software"}, {"clock","synchronised to 0.1 ms"}.
	Modes []Setting `json:"modes,omitempty"`
}

// Interface is a network interface that was used.
type Interface struct {
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"`
	MTU    int    `json:"mtu,omitempty"`
	Speed  uint64 `json:"speed_bps,omitempty"` // as the driver says; absent if it does not
	Queues int    `json:"queues,omitempty"`
}

// Setting is a name and a value as a person would write it.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Verdict is the outcome of an acceptance test.
type Verdict struct {
	Pass bool   `json:"pass"`
	Why  string `json:"why,omitempty"` // a sentence; needed if it did not pass
}

// Metric is one figure, measured once or repeatedly. Compare sets metrics of
// the same name against each other.
type Metric struct {
	Name   string `json:"name"`
	Unit   Unit   `json:"unit"`
	Better Better `json:"better,omitempty"`
	// Samples are independent repetitions (runs, trials, rounds), not the
	// seconds of one run: those are a Series.
	Samples []float64 `json:"samples"`
}

// Count is Count events out of Of chances: lost packets of those sent.
type Count struct {
	Name   string `json:"name"`
	Better Better `json:"better,omitempty"`
	Count  uint64 `json:"count"`
	Of     uint64 `json:"of,omitempty"` // absent if it is a plain count
}

// Series is a value over time.
type Series struct {
	Name   string       `json:"name"`
	Unit   Unit         `json:"unit"`
	Points [][2]float64 `json:"points"` // seconds since At, ascending; value
}

// Distribution is many values, such as the latency of every packet.
type Distribution struct {
	Name  string  `json:"name"`
	Unit  Unit    `json:"unit"`
	Count uint64  `json:"count"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
	// Percentiles are {p, value}, p from 0 to 100 ascending.
	Percentiles [][2]float64 `json:"percentiles"`
	// Buckets are {value, how many}, ascending; each value stands for all that
	// are equal to it within the histogram's precision. They may be absent.
	Buckets [][2]float64 `json:"buckets,omitempty"`
}

// Curve is one quantity against another, such as loss against offered rate.
type Curve struct {
	Name   string       `json:"name"`
	X      Axis         `json:"x"`
	Y      Axis         `json:"y"`
	Points [][2]float64 `json:"points"` // ascending in x
}

// Axis names what is drawn along one direction.
type Axis struct {
	Name string `json:"name"`
	Unit Unit   `json:"unit"`
}

// Table is what fits no other shape: services of Y.1564, hops of a path.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Limit is something of the tester's own that bounds what it can find out: its
// highest rate, drops in its own sockets, the CPU it used, its clock.
type Limit struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  Unit    `json:"unit"`
	OK    bool    `json:"ok"`            // it did not bend the result
	Why   string  `json:"why,omitempty"` // a sentence if it did
}

// New begins a result that started now.
func New(kind, title string, command []string) *Result {
	return &Result{Format: Format, Kind: kind, Title: title, Command: slices.Clone(command), At: time.Now().UTC().Truncate(time.Millisecond)}
}

// Warn adds a reason not to trust the result, once.
func (r *Result) Warn(sentence string) {
	if !slices.Contains(r.Warnings, sentence) {
		r.Warnings = append(r.Warnings, sentence)
	}
}

// Distrust lists every reason not to trust the result: its warnings, and its
// limits that are not OK. Empty means that none is known.
func (r *Result) Distrust() (reasons []string) {
	reasons = slices.Clone(r.Warnings)
	for _, l := range r.Limits {
		if !l.OK {
			reasons = append(reasons, l.Name+" = "+l.Unit.Show(l.Value)+": "+l.Why)
		}
	}
	return reasons
}
