package controller

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"dssn"
	"dssn/controller/bgp"
	"dssn/controller/core"
)

// regionsEvery is how often it is looked whether there are new regions to announce.
const regionsEvery = time.Second

// neighbours reads the BGP configuration, if there is one, before anything is made.
func (o *Options) neighbours() (*bgp.Supervisor, error) {
	if o.BGP == "" {
		return nil, nil
	}
	text, err := os.ReadFile(o.BGP)
	if err != nil {
		return nil, fmt.Errorf("the BGP configuration cannot be read: %w; name a %s file", err, bgp.Format)
	}
	config, err := bgp.Read(text, o.Operator)
	if err != nil {
		return nil, fmt.Errorf("the BGP configuration %s is not usable: %w; correct it (docs/operator.md shows the format)", o.BGP, err)
	}
	return bgp.NewSupervisor(bgp.SupervisorOptions{Config: config, Command: o.BGPCommand, Marker: filepath.Join(o.State, "bgp.spoke"), Log: o.Logger}), nil
}

// speak keeps the BGP speaker running and tells it which regions are in use. The
// function it returns ends it, and the neighbours keep the routes for a while.
func (c *Controller) speak(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	announce := func() {
		var prefixes []netip.Prefix
		c.engine.query(func(k *core.Core) {
			for _, i := range k.Institutions() {
				prefixes = append(prefixes, i.Registrant)
			}
		})
		c.domain.Announce(bgp.Regions(prefixes))
	}
	announce()
	running.Go(func() { c.domain.Run(ctx) })
	running.Go(func() {
		t := time.NewTicker(regionsEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				announce()
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

// elsewhere says which other domain announces an identifier, for people who ask
// for it here; "" where none does.
func (c *Controller) elsewhere(id dssn.DataID) string {
	if c.domain == nil {
		return ""
	}
	bits, said := -1, ""
	for _, r := range c.domain.State().Routes {
		if r.Prefix.Contains(id.Addr()) && r.Prefix.Bits() > bits && len(r.Path) > 0 {
			bits = r.Prefix.Bits()
			said = fmt.Sprintf("%s belongs to another domain: AS %d announces %s (by the neighbour %s); ask its operator for access", id, r.Path[len(r.Path)-1], r.Prefix, r.Neighbour)
		}
	}
	return said
}
