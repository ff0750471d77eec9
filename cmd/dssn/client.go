package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dssn/controller/northbound"
)

// The sockets that a running program opens in its state directory.
const (
	nodeSocket       = "node.sock"
	controllerSocket = "controller.sock"
)

// The state directories that the system's own units use.
const (
	defaultNodeState       = "/var/lib/dssn/node"
	defaultControllerState = "/var/lib/dssn/controller"
)

// client speaks HTTP to the dssn program whose state directory was named: a
// node, which passes /v1 on to its controller as itself, or the controller.
type client struct {
	http   *http.Client
	socket string
	node   bool
}

// stateDir is the --state option, or fallback.
func stateDir(cmd *cobra.Command, fallback string) string {
	if s, err := cmd.Flags().GetString("state"); err == nil && s != "" {
		return s
	}
	return fallback
}

// open finds the program to speak to.
func open(cmd *cobra.Command) (*client, error) {
	dirs := []string{defaultNodeState, defaultControllerState}
	if s := stateDir(cmd, ""); s != "" {
		dirs = []string{s}
	}
	for _, dir := range dirs {
		for _, name := range []string{nodeSocket, controllerSocket} {
			p := filepath.Join(dir, name)
			if _, err := os.Stat(p); err == nil {
				return newClient(p), nil
			}
		}
	}
	return nil, fmt.Errorf("no dssn program answers in %s: start one with `dssn node run` or `dssn controller run`, or name its directory with --state", strings.Join(dirs, " or "))
}

// openNode finds the local node; what needs its files or tunnels cannot be
// asked of a controller.
func openNode(cmd *cobra.Command) (*client, error) {
	dir := stateDir(cmd, defaultNodeState)
	p := filepath.Join(dir, nodeSocket)
	if _, err := os.Stat(p); err != nil {
		return nil, fmt.Errorf("no node answers in %s: join one with `dssn node join` or name its directory with --state", dir)
	}
	return newClient(p), nil
}

func newClient(socket string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, socket: socket, node: filepath.Base(socket) == nodeSocket}
}

// problem is an RFC 9457 answer; its detail is a sentence with a next step.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Next   string `json:"next"`
}

// Error returns the sentence.
func (p *problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Detail
	case p.Title != "":
		return p.Title
	}
	return fmt.Sprintf("the request was refused with status %d", p.Status)
}

// call sends in as JSON, if not nil, and reads the answer into out, if not nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	next := northbound.NextPage(resp.Header)
	if next == "" {
		err = json.NewDecoder(resp.Body).Decode(out)
	} else {
		err = c.pages(ctx, resp.Body, next, out)
	}
	if err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// pages reads a list of which first is the beginning and next the rest.
func (c *client) pages(ctx context.Context, first io.Reader, next string, out any) error {
	var all []json.RawMessage
	if err := json.NewDecoder(first).Decode(&all); err != nil {
		return err
	}
	for next != "" {
		resp, err := c.send(ctx, http.MethodGet, next, nil, nil)
		if err != nil {
			return err
		}
		var page []json.RawMessage
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			return err
		}
		all, next = append(all, page...), northbound.NextPage(resp.Header)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// stream is call for answers of many parts; the caller closes the body.
func (c *client) stream(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	resp, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// send sends a request, with some headers more, and returns the answer to it if
// it is a success; the caller closes its body.
func (c *client) send(ctx context.Context, method, path string, in any, more http.Header) (*http.Response, error) {
	var send io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request %s %s: %w", method, path, err)
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dssn"+path, send)
	if err != nil {
		return nil, fmt.Errorf("make the request %s %s: %w", method, path, err)
	}
	for name, values := range more {
		req.Header[name] = values
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		return nil, fmt.Errorf("the program at %s does not answer (%v): see whether it still runs", c.socket, errors.Unwrap(err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	p := &problem{}
	if json.Unmarshal(text, p) != nil || p.Detail == "" && p.Title == "" {
		p.Detail = fmt.Sprintf("%s %s was refused with status %s: %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	p.Status = resp.StatusCode
	return nil, p
}
