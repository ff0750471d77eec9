package controller

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/names"
)

// catalogueNames is the catalogue as the name server asks it.
type catalogueNames struct{ engine *engine }

func (v catalogueNames) Institution(name string) (ok bool) {
	v.engine.query(func(c *core.Core) { ok = c.HasInstitution(name) })
	return ok
}

func (v catalogueNames) Newest(name string) (id dssn.DataID, institution string, ok bool) {
	v.engine.query(func(c *core.Core) { id, institution, ok = c.Newest(name) })
	return id, institution, ok
}

func (v catalogueNames) Dataset(id dssn.DataID) (name, institution string, ok bool) {
	v.engine.query(func(c *core.Core) { name, institution, ok = c.NameOf(id) })
	return name, institution, ok
}

func (v catalogueNames) Serial() (n uint32) {
	v.engine.query(func(c *core.Core) { n = c.CatalogueSerial() })
	return n
}

// checkNames refuses options of the name server that cannot be meant, before
// anything is made.
func (o *Options) checkNames() error {
	if (o.DNS == "") != (o.DNSDomain == "") {
		return fmt.Errorf("a name server needs an address and a domain: give both --dns ADDR:PORT and --dns-domain DOMAIN, or neither")
	}
	if o.DNS == "" {
		return nil
	}
	if _, err := netip.ParseAddrPort(o.DNS); err != nil {
		return fmt.Errorf("%q is no address for a name server: write ADDR:PORT such as [2001:db8::53]:53", o.DNS)
	}
	_, err := names.NewZone(o.DNSDomain, o.Operator)
	return err
}

// serveNames runs the name server, if one is asked for. The function it returns
// ends it.
func (c *Controller) serveNames(ctx context.Context, o *Options) (func(), error) {
	if o.DNS == "" {
		return func() {}, nil
	}
	var operator netip.Prefix
	c.engine.query(func(k *core.Core) { operator = k.Operator() })
	zone, err := names.NewZone(o.DNSDomain, operator)
	if err != nil {
		return nil, err
	}
	s, err := names.Listen(o.DNS, zone, catalogueNames{c.engine}, o.Clock, c.logger)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	c.logger.Info("names answered", "address", s.Address().String(), "zone", zone.Forward(), "reverse", zone.Reverse())
	if o.DNSReady != nil {
		o.DNSReady(s.Address())
	}
	return func() { cancel(); running.Wait() }, nil
}
