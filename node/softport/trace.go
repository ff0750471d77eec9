package softport

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"dssn/dataplane/worker"
)

// Trace says what would become of a packet, stage by stage, by the tables in
// force. Outside means that it is a datagram from a peer.
func (e *Engine) Trace(p []byte, outside bool) (steps []worker.Step, err error) {
	answer := make(chan []worker.Step, 1)
	w := e.tracer(p, outside)
	w.Do(func() {
		if outside {
			answer <- w.TraceOutside(p)
		} else {
			answer <- w.TraceInside(p)
		}
	})
	select {
	case steps = <-answer:
		return steps, nil
	case <-e.done:
		return nil, fmt.Errorf("trace a packet on %s: the engine has stopped", e.Name())
	}
}

// tracer is the worker whom a packet concerns: the one that has the session of its
// index, or for a packet from inside the first with a lane to where it goes. (Which
// worker the kernel gives a flow to, it decides when it sees one.)
func (e *Engine) tracer(p []byte, outside bool) *worker.Worker {
	for _, t := range e.threads {
		has := make(chan bool, 1)
		t.worker.Do(func() {
			if outside {
				has <- t.worker.HasSession(p)
			} else {
				has <- t.worker.HasLane(p)
			}
		})
		select {
		case <-e.done:
		case yes := <-has:
			if yes {
				return t.worker
			}
		}
	}
	return e.threads[0].worker
}

// The configuration socket answers one request that wireguard-go's does not:
// trace=inside or trace=outside, then packet=HEX and an empty line.

func (e *Engine) answerTrace(side string, r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	r.ReadString('\n')
	text, ok := strings.CutPrefix(strings.TrimSpace(line), "packet=")
	p, err := hex.DecodeString(text)
	if !ok || err != nil || len(p) > worker.MaxPacket || side != "inside" && side != "outside" {
		return "", refuse(unix.EINVAL, "trace: want trace=inside or trace=outside, then packet= and hexadecimal digits")
	}
	steps, err := e.Trace(p, side == "outside")
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s=%s\n", s.Stage, s.Answer)
	}
	return b.String(), err
}

// AskTrace asks the running `dssn wg` of an interface to trace a packet.
func AskTrace(name string, p []byte, outside bool) (steps []worker.Step, err error) {
	c, err := net.Dial("unix", "/var/run/wireguard/"+name+".sock")
	if err != nil {
		return nil, fmt.Errorf("reach the program behind %s (start it with `dssn wg %s`): %w", name, name, err)
	}
	defer c.Close()
	side := "inside"
	if outside {
		side = "outside"
	}
	if _, err := fmt.Fprintf(c, "trace=%s\npacket=%x\n\n", side, p); err != nil {
		return nil, fmt.Errorf("ask the program behind %s: %w", name, err)
	}
	for r := bufio.NewScanner(c); r.Scan(); {
		stage, answer, ok := strings.Cut(r.Text(), "=")
		if stage == "errno" {
			if answer != "0" {
				return nil, fmt.Errorf("trace a packet on %s: the program refused (errno %s)", name, answer)
			}
			return steps, nil
		}
		if ok {
			steps = append(steps, worker.Step{Stage: stage, Answer: answer})
		}
	}
	return nil, fmt.Errorf("trace a packet on %s: its program does not know how; only `dssn wg` does", name)
}
