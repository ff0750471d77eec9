package bgp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"
)

// What the supervisor writes to the speaker's process, one JSON object a line.
// The first has the configuration; later ones only what is to be announced.
type instruction struct {
	Config     *Config        `json:"config,omitempty"`
	Restarting bool           `json:"restarting,omitempty"`
	Announce   []netip.Prefix `json:"announce"`
}

// What the speaker's process writes, one line each: a northbound.BGP.

const (
	maxLine = 64 << 20
	// settle is how long changes gather before they are described.
	settle = 200 * time.Millisecond
	// every is how often the state is described without a change.
	every = 5 * time.Second
)

// Serve is the speaker's process: it takes instructions from in and describes
// itself on out until in ends, which is how it learns that its supervisor is
// gone. It takes no leave of the neighbours: to them it is away for a moment.
// It returns an error where it could not begin, or was not understood.
func Serve(ctx context.Context, in io.Reader, out io.Writer, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	instructions := make(chan instruction)
	ended := make(chan error, 1)
	go func() { ended <- readInstructions(ctx, in, instructions) }()

	var first instruction
	select {
	case first = <-instructions:
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
	if first.Config == nil {
		return errors.New("the first instruction has no configuration: this process is for `dssn controller run --bgp FILE` to start")
	}
	s, err := startSpeaker(ctx, first.Config, first.Announce, first.Restarting, log)
	if err != nil {
		return err
	}
	write := json.NewEncoder(out)
	due := time.NewTimer(0)
	defer due.Stop()
	next := time.Time{} // of the timer, while it runs
	for {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		case i := <-instructions:
			if err := s.announce(ctx, i.Announce); err != nil {
				return err
			}
		case <-s.changed:
		case now := <-due.C:
			v, err := s.look(ctx, now)
			if err != nil {
				return err
			}
			if err := write.Encode(v); err != nil {
				return nil // nobody listens any more
			}
			next = now.Add(every)
			due.Reset(every)
			continue
		}
		// Something changed: describe it soon, however far off the next time is.
		if soon := time.Now().Add(settle); next.After(soon) {
			next = soon
			due.Reset(settle)
		}
	}
}

// readInstructions returns nil at the end of in.
func readInstructions(ctx context.Context, in io.Reader, to chan<- instruction) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var i instruction
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			return fmt.Errorf("an instruction was not understood: %w", err)
		}
		select {
		case to <- i:
		case <-ctx.Done():
			return nil
		}
	}
	return lines.Err()
}
