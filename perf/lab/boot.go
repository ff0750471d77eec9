package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dssn"
	"dssn/node"
	"dssn/topology"
)

// BootOptions say what lab is wanted with its controller and nodes running.
type BootOptions struct {
	ID       string
	Topology []byte
	// Default says that Topology is EightHubs as this package has it, where the
	// holder is Beijing and the consumer Guizhou unless named.
	Default bool
	// Holder and Consumer are backbone nodes; a terminal is put behind each.
	Holder, Consumer string
	// Replica is a backbone node behind which the holder's institution has a
	// second terminal, named after it; empty for none.
	Replica string
	// Transit is who forwards on the hubs; empty: the kernel.
	Transit node.Transit
	MTU     int
	Wires   string // as in Options
	Keep    bool
	Program string
}

// institution returns the name of the institution behind a hub, terminal that
// of its access terminal.
func institution(hub string) string { return slug(hub) + "-institute" }
func terminal(hub string) string    { return slug(hub) + "-terminal" }
func replica(hub string) string     { return slug(hub) + "-replica" }

// controllerPort is where the lab's controller answers.
const controllerPort = 8443

// ControllerURL is where nodes join.
func ControllerURL() string {
	return "https://" + netip.AddrPortFrom(controllerAddress, controllerPort).String()
}

// place chooses the hubs of both institutions.
func (o *BootOptions) place(g *topology.Graph) error {
	if o.Default {
		if o.Holder == "" {
			o.Holder = "beijing"
		}
		if o.Consumer == "" {
			o.Consumer = "guizhou"
		}
	}
	if o.Holder == "" || o.Consumer == "" {
		a, b, err := Farthest(g)
		if err != nil {
			return err
		}
		switch {
		case o.Holder == "" && o.Consumer == "":
			o.Holder, o.Consumer = a, b
		case o.Holder == "":
			o.Holder = other(a, b, o.Consumer)
		default:
			o.Consumer = other(a, b, o.Holder)
		}
	}
	if o.Holder == o.Consumer {
		return fmt.Errorf("the holder and the consumer are both at %s: name two nodes with --holder and --consumer", o.Holder)
	}
	return nil
}

// terminals are the access terminals of a lab whose hubs are chosen.
func (o *BootOptions) terminals() []Terminal {
	list := []Terminal{{Name: terminal(o.Holder), At: o.Holder}, {Name: terminal(o.Consumer), At: o.Consumer}}
	if o.Replica != "" {
		list = append(list, Terminal{replica(o.Replica), o.Replica, institution(o.Holder)})
	}
	return list
}

func other(a, b, not string) string {
	if a == not {
		return b
	}
	return a
}

// Boot makes a lab, starts its controller and joins every node by the commands
// that their operators would type, which are written to w. After an error
// nothing is left.
func Boot(ctx context.Context, o BootOptions, w io.Writer) (*Lab, error) {
	l, sh, err := raise(o, w)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(l.bootAll(ctx, sh), l.release()); err != nil {
		return nil, errors.Join(err, l.Down())
	}
	return l, nil
}

// raise makes the network of a lab and a shell to type at its nodes.
func raise(o BootOptions, w io.Writer) (*Lab, *shell, error) {
	g, _, err := distinct(o.Topology)
	if err != nil {
		return nil, nil, err
	}
	if err := o.place(g); err != nil {
		return nil, nil, err
	}
	l, err := Up(Options{ID: o.ID, Topology: o.Topology, Transit: o.Transit, MTU: o.MTU, Wires: o.Wires, Keep: o.Keep, Program: o.Program, Terminals: o.terminals()})
	if err != nil {
		return nil, nil, err
	}
	sh := &shell{lab: l, out: w}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		sh.live = f
	}
	return l, sh, nil
}

func (l *Lab) bootAll(ctx context.Context, sh *shell) error {
	if err := l.startController(ctx, sh); err != nil {
		return err
	}
	return l.joinAll(ctx, sh)
}

// startController types `dssn controller run` and waits until it answers.
func (l *Lab) startController(ctx context.Context, sh *shell) error {
	args := []string{"dssn", "controller", "run", "--listen", netip.AddrPortFrom(controllerAddress, controllerPort).String(), "--topology", l.TopologyFile()}
	fmt.Fprintf(sh.out, "%s &\n", sh.prompt(line{node: string(RoleController), args: args}))
	args[0] = l.program
	p, err := l.Start("controller", string(RoleController), args...)
	if err != nil {
		return err
	}
	return l.answers(ctx, p, filepath.Join(l.StateOf(string(RoleController)), "controller.sock"))
}

// answers waits until the program listens on its local socket.
func (l *Lab) answers(ctx context.Context, p *Process, socket string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("%s did not begin to answer; its log ends with: %s", p.Name, p.LogTail(3)))
	defer cancel()
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended (%v); its log ends with: %s", p.Name, p.Err(), p.LogTail(3))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// joinAll registers the institutions, draws a token for every node and types
// `dssn node join` at each; nodes join side by side. It returns when the
// controller has seen every node act on its assignment.
func (l *Lab) joinAll(ctx context.Context, sh *shell) error {
	added := map[string]bool{}
	for _, n := range l.Plan.Nodes {
		if n.Role != RoleTerminal || added[n.Institution] {
			continue
		}
		added[n.Institution] = true
		if _, err := sh.run(ctx, line{node: string(RoleController), args: []string{"dssn", "institution", "add", n.Institution}}); err != nil {
			return err
		}
	}
	for _, n := range append(l.Backbone(), l.Terminals()...) {
		if err := l.join(ctx, sh, n); err != nil {
			return err
		}
	}
	return l.settled(ctx, sh)
}

func (l *Lab) hubOf(terminal string) string {
	n, _ := l.Plan.Node(terminal)
	return n.Hub
}

func (l *Lab) join(ctx context.Context, sh *shell, name string) error {
	n, err := l.Plan.Node(name)
	if err != nil {
		return err
	}
	create := []string{"dssn", "token", "create", "--node", name, "--role", string(n.Role)}
	links := BackboneLinks
	if n.Role == RoleTerminal {
		create = append(create, "--institution", n.Institution)
		links = TerminalLinks
	}
	token, err := sh.run(ctx, line{node: string(RoleController), args: create, quiet: true})
	if err != nil {
		return err
	}
	token = strings.TrimSpace(token)
	join := []string{"dssn", "node", "join", ControllerURL(), "--token", token}
	for _, g := range links {
		join = append(join, "--link", g)
	}
	if n.Role == RoleBackbone && l.transit != "" {
		join = append(join, "--transit", string(l.transit))
	}
	shown := append([]string{}, join...)
	shown[5] = abbreviated(token)
	sh.mu.Lock()
	fmt.Fprintf(sh.out, "%s &\n", sh.prompt(line{node: name, args: shown}))
	sh.mu.Unlock()
	join[0] = l.program
	_, err = l.Start(name, name, join...)
	return err
}

// abbreviated keeps what tells tokens apart and hides what must not be read.
func abbreviated(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return "…"
	}
	return parts[0] + "." + parts[1] + ".…"
}

// settlePatience bounds how long joining may take, all nodes together.
func (l *Lab) settlePatience() time.Duration {
	return 20*time.Second + time.Duration(len(l.Plan.Nodes))*500*time.Millisecond
}

// sizeOf sums the sizes of the files in a folder, for messages.
func sizeOf(dir string) (n dssn.ByteCount) {
	filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			n += dssn.ByteCount(i.Size())
		}
		return nil
	})
	return n
}
