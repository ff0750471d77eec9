package camara

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"dssn"
)

// ProfileStatus says whether sessions can be had by a profile.
type ProfileStatus string

// The statuses of profiles. A deprecated one serves the sessions that it has.
const (
	ProfileActive     ProfileStatus = "ACTIVE"
	ProfileInactive   ProfileStatus = "INACTIVE"
	ProfileDeprecated ProfileStatus = "DEPRECATED"
)

// Quantity is a rate or a duration with its unit.
type Quantity struct {
	Value int32  `json:"value"`
	Unit  string `json:"unit"`
}

var rateUnits = map[string]dssn.Bandwidth{"bps": 1, "kbps": dssn.Kbps, "Mbps": dssn.Mbps, "Gbps": dssn.Gbps, "Tbps": 1000 * dssn.Gbps}

// nanoseconds of each unit of time.
var timeUnits = map[string]int64{"Days": 86_400e9, "Hours": 3600e9, "Minutes": 60e9, "Seconds": 1e9, "Milliseconds": 1e6, "Microseconds": 1e3, "Nanoseconds": 1}

// Profile is a QoS profile. Only rates downstream are stated: a session carries
// data from the application server to the device, and the requests for it
// travel as background traffic.
type Profile struct {
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Status      ProfileStatus `json:"status"`
	// MinDownstream is the committed rate of the session's reservation and
	// MaxDownstream its ceiling.
	MinDownstream *Quantity `json:"targetMinDownstreamRate,omitempty"`
	MaxDownstream *Quantity `json:"maxDownstreamRate,omitempty"`
	MinDuration   *Quantity `json:"minDuration,omitempty"`
	MaxDuration   *Quantity `json:"maxDuration,omitempty"`
	// Priority is 1 to 100, the lower the more urgent; a reservation's weight is 101 less it.
	Priority int32 `json:"priority,omitempty"`
	// DelayBudget makes the session's class assured, its delay bounded by it; without
	// one it is elastic.
	DelayBudget  *Quantity `json:"packetDelayBudget,omitempty"`
	L4SQueueType string    `json:"l4sQueueType,omitempty"`
	ServiceClass string    `json:"serviceClass,omitempty"`
}

// Terms are what a session reserves: a profile in the words of contracts.
type Terms struct {
	Class      dssn.Class     `json:"class"`
	Committed  dssn.Bandwidth `json:"committed_bps"`
	Ceiling    dssn.Bandwidth `json:"ceiling_bps"`
	Priority   int            `json:"priority"`
	MaxSeconds int64          `json:"max_seconds"`
	MinSeconds int64          `json:"min_seconds"`
	// MaxDelay bounds the delay, one way; zero for classes without a bound.
	MaxDelay time.Duration `json:"max_delay_ns,omitempty"`
}

// maxSeconds bounds a session whose profile does not.
const maxSeconds = 366 * 86_400

// Terms of a profile that was read by ReadProfiles.
func (p *Profile) Terms() Terms {
	t := Terms{Class: dssn.ClassElastic, Priority: 10, MinSeconds: 1, MaxSeconds: maxSeconds}
	if p.DelayBudget != nil {
		t.Class, t.MaxDelay = dssn.ClassAssured, time.Duration(p.DelayBudget.nanoseconds())
	}
	if p.MinDownstream != nil {
		t.Committed = p.MinDownstream.rate()
	}
	if t.Ceiling = t.Committed; p.MaxDownstream != nil {
		t.Ceiling = p.MaxDownstream.rate()
	}
	if p.Priority != 0 {
		t.Priority = 101 - int(p.Priority)
	}
	if p.MinDuration != nil {
		t.MinSeconds = max(1, (p.MinDuration.nanoseconds()+1e9-1)/1e9)
	}
	if p.MaxDuration != nil {
		t.MaxSeconds = p.MaxDuration.nanoseconds() / 1e9
	}
	return t
}

func (q *Quantity) rate() dssn.Bandwidth { return dssn.Bandwidth(q.Value) * rateUnits[q.Unit] }

func (q *Quantity) nanoseconds() int64 { return int64(q.Value) * timeUnits[q.Unit] }

// ProfileQuery asks for profiles; zero fields ask for all.
type ProfileQuery struct {
	Device *Device       `json:"device,omitempty"`
	Name   string        `json:"name,omitempty"`
	Status ProfileStatus `json:"status,omitempty"`
}

// ProfilesFormat is the format of a file of profiles: {"format": …, "profiles":
// [a profile, …]}.
const ProfilesFormat = "dssn-qos-profiles/1"

//go:embed standard.json
var standard []byte

// StandardProfiles are in force unless a file says otherwise.
func StandardProfiles() []Profile {
	ps, err := ReadProfiles(standard)
	if err != nil {
		panic("the standard profiles do not read: " + err.Error()) // they are part of the program
	}
	return ps
}

// ReadProfiles reads a file of profiles. Names are unique, and every profile
// can be put in the words of contracts.
func ReadProfiles(text []byte) ([]Profile, error) {
	var f struct {
		Format   string    `json:"format"`
		Profiles []Profile `json:"profiles"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("read QoS profiles: %w; write them as the standard ones are", err)
	}
	if f.Format != ProfilesFormat {
		return nil, fmt.Errorf("read QoS profiles: the format is %q: this version reads %q", f.Format, ProfilesFormat)
	}
	seen := map[string]bool{}
	for i := range f.Profiles {
		p := &f.Profiles[i]
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("read QoS profiles: the profile %q %w", p.Name, err)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("read QoS profiles: there are two profiles %q: name each once", p.Name)
		}
		seen[p.Name] = true
	}
	return f.Profiles, nil
}

func (p *Profile) check() error {
	if !profileForm.MatchString(p.Name) {
		return fmt.Errorf("has no proper name: use 3 to 256 letters, digits, dots, hyphens and underlines")
	}
	switch p.Status {
	case ProfileActive, ProfileInactive, ProfileDeprecated:
	default:
		return fmt.Errorf("has the status %q: use ACTIVE, INACTIVE or DEPRECATED", p.Status)
	}
	for _, q := range []*Quantity{p.MinDownstream, p.MaxDownstream} {
		if q != nil && (rateUnits[q.Unit] == 0 || q.Value < 0 || q.Value > 1024) {
			return fmt.Errorf("has the rate %d %s: use 0 to 1024 of bps, kbps, Mbps, Gbps or Tbps", q.Value, q.Unit)
		}
	}
	for _, q := range []*Quantity{p.MinDuration, p.MaxDuration, p.DelayBudget} {
		if q != nil && (timeUnits[q.Unit] == 0 || q.Value < 1 || int64(q.Value) > 100*366*86_400e9/timeUnits[q.Unit]) {
			return fmt.Errorf("has the duration %d %s: use 1 or more of Days, Hours, Minutes, Seconds, Milliseconds, Microseconds or Nanoseconds", q.Value, q.Unit)
		}
	}
	switch t := p.Terms(); {
	case p.Priority < 0 || p.Priority > 100:
		return fmt.Errorf("has the priority %d: use 1 to 100", p.Priority)
	case t.Ceiling == 0:
		return fmt.Errorf("has no rate: give targetMinDownstreamRate or maxDownstreamRate")
	case t.Ceiling < t.Committed:
		return fmt.Errorf("has a maxDownstreamRate below its targetMinDownstreamRate: raise it")
	case t.MaxSeconds < t.MinSeconds:
		return fmt.Errorf("lasts at most %d and at least %d seconds: raise maxDuration", t.MaxSeconds, t.MinSeconds)
	}
	return nil
}
