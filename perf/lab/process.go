package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Process is a program that runs inside a node's namespace until it ends or
// the lab does.
type Process struct {
	Name string
	Node string
	cmd  *exec.Cmd
	done chan struct{} // closed once the program has ended and err is set
	err  error
	log  string
	file string // its record
}

// processRecord is written to processes/NAME.
type processRecord struct {
	Name string   `json:"name"`
	Node string   `json:"node"`
	Args []string `json:"args"`
	Log  string   `json:"log"`
	instance
}

// spawner starts programs from one thread that lives as long as the lab,
// because a program that shall die with its parent dies with the thread that
// started it.
type spawner struct{ jobs chan func() }

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// start starts cmd inside the namespace.
func (s *spawner) start(namespace string, cmd *exec.Cmd) error {
	errs := make(chan error)
	s.jobs <- func() { errs <- startInside(namespace, cmd) }
	return <-errs
}

func (s *spawner) close() { close(s.jobs) }

// startIn starts cmd inside a namespace of the lab.
func (l *Lab) startIn(namespace string, cmd *exec.Cmd) error {
	if l.spawn == nil {
		l.spawn = newSpawner()
	}
	return l.spawn.start(namespace, cmd)
}

// startInside enters the namespace, starts cmd, which inherits it, and returns.
func startInside(namespace string, cmd *exec.Cmd) error {
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer home.Close()
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter namespace %s: %w", namespace, err)
	}
	err = cmd.Start()
	if back := netns.Set(home); back != nil && err == nil {
		err = fmt.Errorf("return from namespace %s: %w", namespace, back)
	}
	return err
}

// Command prepares a command inside a node's namespace with DSSN_STATE set to
// the node's state directory. Start it with Lab.startCommand.
func (l *Lab) command(node Node, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = l.environment(node)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if l.owned {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	return cmd
}

// environment is what programs of a node see: the lab's own, its state
// directory, and the dssn program first in the path.
func (l *Lab) environment(node Node) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "DSSN_STATE=") && !strings.HasPrefix(e, "PATH=") {
			env = append(env, e)
		}
	}
	return append(env, "DSSN_STATE="+l.StateOf(node.Name),
		"PATH="+filepath.Dir(l.program)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// Start runs a long-lived program in a node's namespace; its words go to
// logs/NAME.log. Name is unique in the lab while the program runs.
func (l *Lab) Start(name, node string, args ...string) (*Process, error) {
	n, err := l.Plan.Node(node)
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, Node: n.Name, done: make(chan struct{}),
		log: filepath.Join(l.dir, "logs", slug(name)+".log"), file: filepath.Join(l.dir, "processes", slug(name))}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = l.command(n, args)
	p.cmd.SysProcAttr.Setpgid = false
	p.cmd.SysProcAttr.Setsid = true // a key pressed in our terminal is not for it
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := l.startIn(n.Namespace, p.cmd); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", name, n.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	start, _ := startTime(p.cmd.Process.Pid)
	err = writeRecord(p.file, processRecord{name, n.Name, args, p.log, instance{p.cmd.Process.Pid, start}})
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("record process %s: %w", name, err)
	}
	l.processes[name] = p
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the program ended; call it after Done. Nil means exit code 0.
func (p *Process) Err() error { return p.err }

// PID is the program's process number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogTail returns the last lines that the program wrote.
func (p *Process) LogTail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Kill ends the program at once (SIGKILL) and returns when it has ended.
func (p *Process) Kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
	os.Remove(p.file)
}

// Stop asks the program to end (SIGTERM) and ends it after patience.
func (p *Process) Stop(patience time.Duration) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.done
	}
	os.Remove(p.file)
}

func recordedProcesses(id string) (out []processRecord) {
	dir := filepath.Join(stateDir(id), "processes")
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		var r processRecord
		if readRecord(filepath.Join(dir, e.Name()), &r) == nil {
			out = append(out, r)
		}
	}
	return out
}

// replaceBy becomes the command inside the node's namespace, never to return.
func (l *Lab) replaceBy(node Node, args []string) error {
	path := l.program // which the word dssn stands for
	if args[0] != "dssn" {
		var err error
		if path, err = exec.LookPath(args[0]); err != nil {
			return fmt.Errorf("there is no program %q here (%w): name another", args[0], err)
		}
	}
	runtime.LockOSThread()
	ns, err := netns.GetFromName(node.Namespace)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", node.Namespace, err)
	}
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter namespace %s: %w", node.Namespace, err)
	}
	// The new program takes over this thread's namespace with the process.
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, args, l.environment(node)))
}
