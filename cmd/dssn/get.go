package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/node"
	"dssn/node/transfer"
)

func getCommand() *cobra.Command {
	var out, transport string
	var streams int
	cmd := &cobra.Command{
		Use:   "get URI -o DIRECTORY",
		Short: "Fetch a dataset, a folder or a file of it, by identifier",
		Long: `Fetches dssn://[IDENTIFIER]/PATH; without a path, the whole dataset. Every 16 KiB
is verified when it arrives. An interrupted fetch goes on where it stopped when
the same line is typed again; files that are there already are checked and kept.`,
		Args: exactly("URI"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, _, err := dssn.ParseDataURI(args[0])
			if err != nil {
				return usageError{err}
			}
			if out == "" {
				return usagef("the data has nowhere to go: name a folder with -o")
			}
			how, err := transfer.ParseTransport(transport)
			if err != nil {
				return usageError{err}
			}
			c, err := openNode(cmd)
			if err != nil {
				return err
			}
			local := &localNode{client: c, id: id}
			bar := newBar(cmd.ErrOrStderr(), "fetching", true)
			r, err := transfer.Get(cmd.Context(), transfer.Options{URI: args[0], Out: out, Local: local, Streams: streams, Transport: how,
				Progress: func(p transfer.Progress) { bar.set(p.Bytes, p.Total, p.Rate, p.ETA, p.Path) }})
			bar.close()
			if err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) error {
				fmt.Fprintf(w, "fetched %s into %s\n", r.Record.Name, out)
				return table(w, func(row func(string, ...any)) {
					row("  contents\t%d bytes in %d files", r.Bytes, r.Files)
					if kept := r.Resumed + r.Reused; kept > 0 {
						row("  of those\t%d were here already and are as published", kept)
					}
					row("  verified\tevery 16 KiB, against root %s", r.Digest)
					row("  goodput\t%.2f Gbit/s for %s", float64(r.Rate)/1e9, r.Duration.Round(10*time.Millisecond))
					for _, id := range r.Earlier {
						row("  transfer\t%s, from a holder that went away", id)
					}
					row("  transfer\t%s", r.Transfer)
					row("  reservation\t%s", reservationText(r.Reservation))
				})
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`folder` to write into; it is made if it is missing")
	cmd.Flags().StringVar(&transport, "transport", "tcp", "`tcp`, or kcp where the last mile loses packets")
	cmd.Flags().IntVar(&streams, "streams", 0, "how many connections fetch at once (default 4)")
	return cmd
}

// localNode is what transfer.Get needs of this host's node, over its socket.
type localNode struct {
	*client
	id dssn.DataID

	mu   sync.Mutex // guards path
	path string     // as last heard
}

// Resolve asks the catalogue as this host's institution.
func (l *localNode) Resolve(ctx context.Context, id dssn.DataID) (transfer.Resolution, error) {
	var r northbound.Resolution
	if err := l.call(ctx, http.MethodGet, "/v1/resolve/"+id.String(), nil, &r); err != nil {
		return transfer.Resolution{}, err
	}
	l.mu.Lock()
	l.path = route(between(r.Path))
	l.mu.Unlock()
	t := transfer.Resolution{Record: r.Dataset.Record, Holder: r.HolderNode}
	if r.Route != nil {
		t.Reservation = r.Route.ID
	}
	return t, nil
}

// between leaves out a path's ends, which the person who waits knows.
func between(hops []string) []string {
	if len(hops) > 2 {
		return hops[1 : len(hops)-1]
	}
	return hops
}

// Report tells the node how far the transfer has come.
func (l *localNode) Report(ctx context.Context, d southbound.Delivery) error {
	return l.call(ctx, http.MethodPost, "/local/deliveries", d, nil)
}

// Path asks which way the data comes now. While the controller cannot be asked,
// the way that this node itself uses to the holder is shown from its other end:
// both ends probe the same paths and leave a dead one within a moment of each
// other.
func (l *localNode) Path(ctx context.Context, holder dssn.NodeID) (string, error) {
	var r northbound.Resolution
	var own []node.PeerPaths
	hops, known := []string(nil), false
	if err := l.call(ctx, http.MethodGet, "/v1/resolve/"+l.id.String(), nil, &r); err == nil {
		hops, known = r.Path, true
	} else if err := l.call(ctx, http.MethodGet, "/local/paths?peer="+queryText(holder.String()), nil, &own); err == nil {
		hops, known = inUse(own)
		slices.Reverse(hops)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known {
		l.path = route(between(hops))
	}
	return l.path, nil
}

// inUse returns a copy of the path in use.
func inUse(peers []node.PeerPaths) (hops []string, ok bool) {
	for _, p := range peers {
		for _, v := range p.Paths {
			if v.InUse {
				return slices.Clone(v.Hops), len(v.Hops) > 0
			}
		}
	}
	return nil, false
}
