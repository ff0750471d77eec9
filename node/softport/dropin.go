package softport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.zx2c4.com/wireguard/ipc"

	"dssn/dataplane/aead"
)

// The environment that wireguard-go uses between the process a person starts
// and the one that stays. Ours is the same, so that what supervises the one can
// supervise the other.
const (
	envTUN        = "WG_TUN_FD"
	envConfig     = "WG_UAPI_FD"
	envForeground = "WG_PROCESS_FOREGROUND"
	envLog        = "LOG_LEVEL"
)

// DropIn runs an engine as wireguard-go runs: an interface of this name, a
// configuration socket in /var/run/wireguard, in the background unless told
// otherwise.
type DropIn struct {
	Interface  string
	Foreground bool
	// Suite seals all sessions; zero means ChaCha20-Poly1305, the only one that
	// WireGuard knows.
	Suite aead.Suite
	// Workers share the peers, each on a core of its own; zero means one.
	Workers int
	// Frames names links whose frames are carried by AF_XDP beside the TUN.
	Frames FrameLinks
}

// Run returns once the process in the background has everything it needs, or
// in the foreground when the interface is deleted, the configuration socket is
// taken away or ctx ends. Whatever it made is then gone.
func (d DropIn) Run(ctx context.Context) error {
	level := logLevel(os.Getenv(envLog))
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("interface", d.Interface)

	if d.Frames != (FrameLinks{}) && os.Getenv(envTUN) == "" {
		// Said while somebody listens: a process in the background tells nobody.
		got, err := TryFrames(d.Frames, max(1, d.Workers))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: %s; everything else by the kernel\n", d.Interface, got)
	}
	fresh := os.Getenv(envTUN) == ""
	link, err := inherited(envTUN, func() (*os.File, error) { return createTUN(d.Interface, d.Workers > 1) })
	if err != nil {
		return err
	}
	defer link.Close()
	if fresh && d.Interface != "" {
		if name, err := nameOf(link); err == nil {
			d.Interface = name
		}
	}
	config, err := inherited(envConfig, func() (*os.File, error) { return ipc.UAPIOpen(d.Interface) })
	if err != nil {
		return fmt.Errorf("open the configuration socket of %s: %w", d.Interface, err)
	}
	defer config.Close()
	if !d.Foreground && os.Getenv(envForeground) != "1" {
		return background(link, config)
	}

	// One port for all: their peers are stock ones.
	e, err := Open(Options{TUN: link, MTU: 1420, Plain: true, Ports: make([]uint16, max(0, d.Workers-1)), Suite: d.Suite, Frames: d.Frames, Logger: log})
	if err != nil {
		return err
	}
	defer e.Close()
	listener, err := ipc.UAPIListen(d.Interface, config)
	if err != nil {
		return fmt.Errorf("listen on the configuration socket of %s: %w", d.Interface, err)
	}
	defer listener.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(e, c)
		}
	}()
	select {
	case <-ctx.Done():
		return nil
	case <-gone:
		return nil
	case <-e.Done():
		return e.Err()
	}
}

// serve answers one connection; a person's `wg` is done in far less time.
func serve(e *Engine, c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Minute))
	if err := e.ServeConfig(c); err != nil {
		e.log.Debug("configuration ended", "error", err)
	}
}

func logLevel(s string) slog.Level {
	switch s {
	case "verbose", "debug":
		return slog.LevelDebug
	case "silent":
		return slog.Level(100)
	}
	return slog.LevelError
}

// inherited takes over a descriptor named in the environment, or opens it.
func inherited(env string, open func() (*os.File, error)) (*os.File, error) {
	text := os.Getenv(env)
	if text == "" {
		return open()
	}
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s=%s is not a file descriptor: %w", env, text, err)
	}
	return os.NewFile(uintptr(fd), env), nil
}

// background starts this program again with everything open and leaves it
// alone.
func background(link, config *os.File) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to run it in the background: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null, null, link, config}
	if l := os.Getenv(envLog); l != "" && l != "silent" {
		files[1], files[2] = os.Stdout, os.Stderr
	}
	p, err := os.StartProcess(path, os.Args, &os.ProcAttr{
		Dir: ".", Files: files,
		Env: append(os.Environ(), envTUN+"=3", envConfig+"=4", envForeground+"=1"),
	})
	if err != nil {
		return fmt.Errorf("go to the background: %w", err)
	}
	return errors.Join(p.Release())
}
