// Settings as words: reading "rate=1G delay=10ms", strictly, and writing it.

package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"dssn"
)

// Keys lists the names that Set takes, for messages.
const Keys = "rate, overhead, queue, delay, jitter, law, order, loss, burst, burst-loss, reorder, duplicate, corrupt, mtu, seed, line"

// Parse reads settings: name=value pairs, separated by commas or spaces.
// An error is one sentence. What was read is checked.
//
//	rate=1G            bits per second; 0 for no limit
//	overhead=24        bytes per frame on the line beyond its own
//	queue=100p         packets, bytes (64KiB) or both (64KiB/100p)
//	delay=10ms         one way
//	jitter=2ms         with law=uniform (±), normal (σ), exponential or pareto (mean)
//	order=free         jitter may change the order (default: keep)
//	loss=0.1%          each frame by itself
//	burst=0.1%/25%     Gilbert-Elliott: enter and leave the bad state, which loses
//	                   all, or burst-loss=50%
//	reorder=1%/2ms     share of frames held back, and for how long
//	duplicate=0.1%, corrupt=0.01%
//	mtu=1400           longest packet that passes
//	seed=7             of all chance
//	line=down          lose everything silently (default: up)
func Parse(text string) (Settings, error) {
	var s Settings
	err := s.Update(text)
	return s, err
}

// Update changes the settings that the text names and leaves the others. After
// an error nothing has changed.
func (s *Settings) Update(text string) error {
	t := *s
	seen := map[string]bool{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return fmt.Errorf("%q is not a setting: write name=value, the names being %s", pair, Keys)
		}
		if seen[name] {
			return fmt.Errorf("%s is given twice", name)
		}
		seen[name] = true
		if err := t.Set(name, value); err != nil {
			return err
		}
	}
	if seen["burst"] && !seen["burst-loss"] && t.Enter > 0 && s.BurstLoss == 0 {
		t.BurstLoss = 1
	}
	if err := t.Check(); err != nil {
		return err
	}
	*s = t
	return nil
}

// Set changes one setting by name; see Parse. The caller calls Check when all are set.
func (s *Settings) Set(name, value string) (err error) {
	switch name {
	case "rate":
		s.Rate, err = dssn.ParseBandwidth(value)
	case "overhead":
		s.Overhead, err = whole(name, value)
	case "queue":
		err = s.setQueue(value)
	case "delay":
		s.Delay, err = span(name, value)
	case "jitter":
		s.Jitter, err = span(name, value)
	case "law":
		s.Law, err = lawOf(value)
	case "order":
		if value != "keep" && value != "free" {
			return fmt.Errorf("order=%s is not possible: write keep or free", value)
		}
		s.Free = value == "free"
	case "loss":
		s.Loss, err = share(name, value)
	case "burst":
		enter, leave, ok := strings.Cut(value, "/")
		if value == "0" {
			enter, leave, ok = "0", "0", true
		}
		if !ok {
			return fmt.Errorf("burst=%s lacks a part: write burst=ENTER/LEAVE, for example burst=0.1%%/25%%", value)
		}
		if s.Enter, err = share(name, enter); err == nil {
			s.Leave, err = share(name, leave)
		}
	case "burst-loss":
		s.BurstLoss, err = share(name, value)
	case "reorder":
		part, by, ok := strings.Cut(value, "/")
		if value == "0" {
			part, by, ok = "0", "0", true
		}
		if !ok {
			return fmt.Errorf("reorder=%s lacks a part: write reorder=SHARE/TIME, for example reorder=1%%/2ms", value)
		}
		if s.Reorder, err = share(name, part); err == nil {
			s.ReorderBy, err = span(name, by)
		}
	case "duplicate":
		s.Duplicate, err = share(name, value)
	case "corrupt":
		s.Corrupt, err = share(name, value)
	case "mtu":
		s.MTU, err = whole(name, value)
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
		if err != nil {
			err = fmt.Errorf("seed=%s is not a whole number", value)
		}
	case "line":
		if value != "up" && value != "down" {
			return fmt.Errorf("line=%s is not possible: write up or down", value)
		}
		s.Down = value == "down"
	default:
		return fmt.Errorf("%q is not a setting of a wire: they are %s", name, Keys)
	}
	return err
}

func (s *Settings) setQueue(value string) (err error) {
	s.QueueBytes, s.QueuePackets = 0, 0
	for part := range strings.SplitSeq(value, "/") {
		if n, ok := strings.CutSuffix(part, "p"); ok {
			if s.QueuePackets, err = whole("queue", n); err == nil && s.QueuePackets == 0 {
				err = fmt.Errorf("queue=%s holds nothing: give at least 1p", value)
			}
		} else if s.QueueBytes, err = dssn.ParseByteCount(part); err == nil && s.QueueBytes == 0 {
			err = fmt.Errorf("queue=%s holds nothing: give some bytes, or packets as 100p", value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// String writes the settings so that Parse reads them back; "passes everything" is
// the empty text.
func (s Settings) String() string {
	var b []string
	add := func(name string, value any) { b = append(b, fmt.Sprintf("%s=%v", name, value)) }
	if s.Rate != 0 {
		add("rate", exactRate(s.Rate))
	}
	if s.Overhead != 0 {
		add("overhead", s.Overhead)
	}
	var queue []string
	if s.QueueBytes != 0 {
		queue = append(queue, strconv.FormatUint(uint64(s.QueueBytes), 10))
	}
	if s.QueuePackets != 0 {
		queue = append(queue, strconv.Itoa(s.QueuePackets)+"p")
	}
	if queue != nil {
		add("queue", strings.Join(queue, "/"))
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"delay", s.Delay}, {"jitter", s.Jitter}} {
		if d.v != 0 {
			add(d.name, d.v)
		}
	}
	if s.Law != Uniform {
		add("law", s.Law)
	}
	if s.Free {
		add("order", "free")
	}
	if s.Loss != 0 {
		add("loss", percent(s.Loss))
	}
	if s.Enter != 0 || s.Leave != 0 {
		add("burst", percent(s.Enter)+"/"+percent(s.Leave))
	}
	if s.Enter > 0 && s.BurstLoss != 1 || s.Enter == 0 && s.BurstLoss != 0 {
		add("burst-loss", percent(s.BurstLoss))
	}
	if s.Reorder != 0 || s.ReorderBy != 0 {
		add("reorder", percent(s.Reorder)+"/"+s.ReorderBy.String())
	}
	if s.Duplicate != 0 {
		add("duplicate", percent(s.Duplicate))
	}
	if s.Corrupt != 0 {
		add("corrupt", percent(s.Corrupt))
	}
	if s.MTU != 0 {
		add("mtu", s.MTU)
	}
	if s.Seed != 0 {
		add("seed", s.Seed)
	}
	if s.Down {
		add("line", "down")
	}
	return strings.Join(b, " ")
}

// exactRate uses a multiple only where that loses nothing.
func exactRate(b dssn.Bandwidth) string {
	if back, err := dssn.ParseBandwidth(b.String()); err == nil && back == b {
		return b.String()
	}
	return strconv.FormatUint(uint64(b), 10)
}

// percent writes a share so that share reads it back the same.
func percent(p float64) string {
	if s := strconv.FormatFloat(p*100, 'g', -1, 64) + "%"; !strings.ContainsAny(s, "e") {
		if back, err := share("", s); err == nil && back == p {
			return s
		}
	}
	return strconv.FormatFloat(p, 'g', -1, 64)
}

// share reads 0.1% or 0.001.
func share(name, text string) (float64, error) {
	digits, isPercent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if isPercent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%s=%s is not a share: write for example 0.1%% or 0.001, at most 100%%", name, text)
	}
	return v + 0, nil // never −0
}

func span(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > MaxDelay {
		return 0, fmt.Errorf("%s=%s is not a time: write for example 10ms or 150us, at most %v", name, text, MaxDelay)
	}
	return d, nil
}

func whole(name, text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is not a whole number", name, text)
	}
	return int(n), nil
}

func lawOf(text string) (Law, error) {
	for i, n := range lawNames {
		if n == text {
			return Law(i), nil
		}
	}
	return 0, fmt.Errorf("law=%s is not known: the laws are %s", text, strings.Join(lawNames, ", "))
}
