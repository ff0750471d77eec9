package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"

	"dssn/controller/northbound"
)

const (
	// deferral is how long after a restart the speaker waits for its neighbours'
	// whole tables before it announces (RFC 4724, Selection_Deferral_Timer).
	deferral = 10 * time.Second
	// shutPause is how long a neighbour that announced too much stays shut.
	shutPause = 10 * time.Minute
	// maxRefusals is how many refused announcements are shown.
	maxRefusals = 100
)

// v6 is the one address family that is spoken.
var v6 = &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}

// speaker is a running BGP speaker. Its methods are for one goroutine.
type speaker struct {
	config    *Config
	log       *slog.Logger
	server    *server.BgpServer
	announced map[netip.Prefix]bool
	shut      map[string]time.Time // neighbours shut, and when that was seen
	changed   chan struct{}        // one slot: something is worth a look
}

// startSpeaker begins to speak. restarting says that an earlier process spoke
// until a moment ago, so that the neighbours still have its routes.
func startSpeaker(ctx context.Context, c *Config, announce []netip.Prefix, restarting bool, log *slog.Logger) (*speaker, error) {
	s := &speaker{config: c, log: log, announced: map[netip.Prefix]bool{}, shut: map[string]time.Time{}, changed: make(chan struct{}, 1),
		server: server.NewBgpServer(server.LoggerOption(gobgpLogger{log}))}
	go s.server.Serve()
	g := &api.Global{Asn: c.AS, RouterId: c.RouterID.String(), ListenPort: -1}
	if c.Listen != "" {
		at := netip.MustParseAddrPort(c.Listen) // checked when it was read
		g.ListenPort, g.ListenAddresses = int32(at.Port()), []string{at.Addr().String()}
	}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: g}); err != nil {
		return nil, fmt.Errorf("start speaking BGP: %w", err)
	}
	if err := s.policies(ctx); err != nil {
		return nil, err
	}
	if err := s.watch(ctx); err != nil {
		return nil, err
	}
	// Routes before neighbours: the first thing that each hears is complete.
	if err := s.announce(ctx, announce); err != nil {
		return nil, err
	}
	for i := range c.Neighbours {
		n := &c.Neighbours[i]
		if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: c.peer(n, restarting)}); err != nil {
			return nil, fmt.Errorf("add the neighbour %s: %w", n.Name, err)
		}
	}
	return s, nil
}

// peer writes a neighbour in gobgp's terms.
func (c *Config) peer(n *Neighbour, restarting bool) *api.Peer {
	p := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: n.Address.String(), PeerAsn: n.AS, LocalAsn: c.AS, AuthPassword: n.Password, Description: n.Name},
		Transport: &api.Transport{RemotePort: uint32(n.Port)},
		Timers: &api.Timers{Config: &api.TimersConfig{HoldTime: uint64(c.HoldSeconds), KeepaliveInterval: uint64(max(1, c.HoldSeconds/3)),
			ConnectRetry: 10, IdleHoldTimeAfterReset: 2}},
		GracefulRestart: &api.GracefulRestart{Enabled: true, RestartTime: uint32(c.RestartSeconds), DeferralTime: uint32(deferral / time.Second),
			NotificationEnabled: true, LocalRestarting: restarting},
		AfiSafis: []*api.AfiSafi{{
			Config:            &api.AfiSafiConfig{Family: v6, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
			PrefixLimits:      &api.PrefixLimit{Family: v6, MaxPrefixes: n.MaxPrefixes, ShutdownThresholdPct: 80},
		}},
	}
	if n.Hops > 1 {
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(n.Hops)}
	}
	return p
}

// policies gives gobgp the rules of Refusal, and lets nothing out but our own.
func (s *speaker) policies(ctx context.Context) error {
	accept := &api.Actions{RouteAction: api.RouteAction_ACCEPT}
	local := &api.Statement{Name: "own", Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, Actions: accept}
	in := []*api.Statement{local}
	for _, n := range s.config.Neighbours {
		var allow []*api.Prefix
		for _, p := range n.Allow {
			allow = append(allow, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: uint32(p.Bits()), MaskLengthMax: RegionBits})
		}
		from, what, way := "from-"+n.Name, "of-"+n.Name, "by-"+n.Name
		for _, set := range []*api.DefinedSet{
			{DefinedType: api.DefinedType_NEIGHBOR, Name: from, List: []string{n.Address.String() + "/128"}},
			{DefinedType: api.DefinedType_PREFIX, Name: what, Prefixes: allow},
			{DefinedType: api.DefinedType_AS_PATH, Name: way, List: []string{fmt.Sprintf("^%d(_|$)", n.AS)}},
		} {
			if err := s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
				return fmt.Errorf("set what %s is allowed: %w", n.Name, err)
			}
		}
		k := &api.Conditions{
			NeighborSet:  &api.MatchSet{Type: api.MatchSet_ANY, Name: from},
			PrefixSet:    &api.MatchSet{Type: api.MatchSet_ANY, Name: what},
			AsPathLength: &api.AsPathLength{Type: api.AsPathLength_LE, Length: maxPathLength},
		}
		if n.AS != s.config.AS {
			k.AsPathSet = &api.MatchSet{Type: api.MatchSet_ANY, Name: way}
		}
		in = append(in, &api.Statement{Name: "take-" + n.Name, Conditions: k, Actions: accept})
	}
	out := []*api.Statement{{Name: "announce-own", Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, Actions: accept}}
	for _, d := range []struct {
		name       string
		direction  api.PolicyDirection
		statements []*api.Statement
	}{{"take", api.PolicyDirection_IMPORT, in}, {"announce", api.PolicyDirection_EXPORT, out}} {
		p := &api.Policy{Name: d.name, Statements: d.statements}
		if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: p}); err != nil {
			return fmt.Errorf("set the policy %q: %w", d.name, err)
		}
		a := &api.PolicyAssignment{Name: "global", Direction: d.direction, Policies: []*api.Policy{{Name: d.name}}, DefaultAction: api.RouteAction_REJECT}
		if err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("put the policy %q in force: %w", d.name, err)
		}
	}
	return nil
}

// watch notes that something changed.
func (s *speaker) watch(ctx context.Context) error {
	return s.server.WatchEvent(ctx, &api.WatchEventRequest{
		Peer:  &api.WatchEventRequest_Peer{},
		Table: &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{{Type: api.WatchEventRequest_Table_Filter_ADJIN}}},
	}, func(*api.WatchEventResponse) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	})
}

// announce makes what is announced equal to want.
func (s *speaker) announce(ctx context.Context, want []netip.Prefix) error {
	wanted := map[netip.Prefix]bool{}
	for _, p := range want {
		wanted[p] = true
		if s.announced[p] {
			continue
		}
		path, err := s.path(p)
		if err == nil {
			_, err = s.server.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path})
		}
		if err != nil {
			return fmt.Errorf("announce %s: %w", p, err)
		}
		s.announced[p] = true
	}
	for p := range s.announced {
		if wanted[p] {
			continue
		}
		path, err := s.path(p)
		if err == nil {
			err = s.server.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: path})
		}
		if err != nil {
			return fmt.Errorf("withdraw %s: %w", p, err)
		}
		delete(s.announced, p)
	}
	return nil
}

// path is an announcement of ours.
func (s *speaker) path(p netip.Prefix) (*api.Path, error) {
	next := "::" // each session's own end
	if s.config.NextHop.IsValid() {
		next = s.config.NextHop.String()
	}
	nlri := bgp.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String())
	return apiutil.NewPath(nlri, false, []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP),
		bgp.NewPathAttributeMpReachNLRI(next, []bgp.AddrPrefixInterface{nlri}),
	}, time.Now())
}

// look describes how everything stands. Neighbours whose pause is over are let in again.
func (s *speaker) look(ctx context.Context, now time.Time) (*northbound.BGP, error) {
	v := &northbound.BGP{AS: s.config.AS, RouterID: s.config.RouterID, Running: true,
		Announced: []netip.Prefix{}, Neighbours: []northbound.BGPNeighbour{}, Routes: []northbound.BGPRoute{}, Refused: []northbound.BGPRefusal{}}
	for p := range s.announced {
		v.Announced = append(v.Announced, p)
	}
	slices.SortFunc(v.Announced, netip.Prefix.Compare)
	if err := s.routes(ctx, v); err != nil {
		return nil, err
	}
	byAddress := map[string]*api.Peer{}
	if err := s.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) { byAddress[p.Conf.NeighborAddress] = p }); err != nil {
		return nil, fmt.Errorf("list the neighbours: %w", err)
	}
	for i := range s.config.Neighbours {
		n := &s.config.Neighbours[i]
		p := byAddress[n.Address.String()]
		if p == nil {
			continue
		}
		if err := s.neighbour(ctx, v, n, p, now); err != nil {
			return nil, err
		}
	}
	// gobgp may keep the routes of a session that it shut as those of a graceful
	// restart; a neighbour that announced too much is believed in nothing.
	v.Routes = slices.DeleteFunc(v.Routes, func(r northbound.BGPRoute) bool { _, shut := s.shut[r.Neighbour]; return shut })
	return v, nil
}

// routes adds what was learned.
func (s *speaker) routes(ctx context.Context, v *northbound.BGP) error {
	err := s.server.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: v6}, func(d *api.Destination) {
		for _, p := range d.Paths {
			from, err := netip.ParseAddr(p.NeighborIp)
			if err != nil || !p.Best {
				continue // our own, or second best
			}
			n := s.config.neighbour(from.Unmap())
			prefix, err := netip.ParsePrefix(d.Prefix)
			if n == nil || err != nil {
				continue
			}
			path, next := attributes(p)
			v.Routes = append(v.Routes, northbound.BGPRoute{Prefix: prefix, Neighbour: n.Name, Path: path, NextHop: next, Since: p.Age.AsTime(), Stale: p.Stale})
		}
	})
	if err != nil {
		return fmt.Errorf("list the routes: %w", err)
	}
	slices.SortFunc(v.Routes, func(a, b northbound.BGPRoute) int { return a.Prefix.Compare(b.Prefix) })
	return nil
}

// neighbour adds one neighbour and what it announces in vain.
func (s *speaker) neighbour(ctx context.Context, v *northbound.BGP, n *Neighbour, p *api.Peer, now time.Time) error {
	b := northbound.BGPNeighbour{Name: n.Name, Address: n.Address, AS: n.AS, State: stateText(p.State), Allow: n.Allow, MaxPrefixes: n.MaxPrefixes}
	if p.State.AdminState == api.PeerState_PFX_CT {
		b.State = "shut"
		if since, known := s.shut[n.Name]; !known {
			s.shut[n.Name] = now
			s.log.Warn("a neighbour announced too much and is shut", "neighbour", n.Name, "max", n.MaxPrefixes, "until", now.Add(shutPause))
		} else if now.Sub(since) > shutPause {
			delete(s.shut, n.Name)
			if err := s.server.EnablePeer(ctx, &api.EnablePeerRequest{Address: n.Address.String()}); err != nil {
				return fmt.Errorf("let %s in again: %w", n.Name, err)
			}
		}
	} else {
		delete(s.shut, n.Name)
	}
	if p.State.SessionState == api.PeerState_ESTABLISHED && p.Timers != nil && p.Timers.State != nil && p.Timers.State.Uptime != nil {
		b.Since = p.Timers.State.Uptime.AsTime()
	}
	err := s.server.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_ADJ_IN, Name: n.Address.String(), Family: v6, EnableFiltered: true}, func(d *api.Destination) {
		for _, path := range d.Paths {
			if !path.Filtered {
				b.Taken++
				continue
			}
			b.Refused++
			prefix, err := netip.ParsePrefix(d.Prefix)
			if err != nil || len(v.Refused) >= maxRefusals {
				continue
			}
			way, _ := attributes(path)
			v.Refused = append(v.Refused, northbound.BGPRefusal{Prefix: prefix, Neighbour: n.Name, Why: s.config.Refusal(n, prefix, way)})
		}
	})
	if err != nil {
		return fmt.Errorf("list what %s announces: %w", n.Name, err)
	}
	slices.SortFunc(v.Refused, func(a, b northbound.BGPRefusal) int { return a.Prefix.Compare(b.Prefix) })
	v.Neighbours = append(v.Neighbours, b)
	return nil
}

// attributes returns the AS path, nearest first, and the next hop of a path.
func attributes(p *api.Path) (path []uint32, next netip.Addr) {
	path = []uint32{}
	list, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return path, next
	}
	for _, a := range list {
		switch a := a.(type) {
		case *bgp.PathAttributeAsPath:
			for _, part := range a.Value {
				path = append(path, part.GetAS()...)
			}
		case *bgp.PathAttributeMpReachNLRI:
			next, _ = netip.AddrFromSlice(a.Nexthop)
		}
	}
	return path, next.Unmap()
}

func stateText(s *api.PeerState) string {
	switch s.SessionState {
	case api.PeerState_IDLE:
		return "idle"
	case api.PeerState_CONNECT:
		return "connect"
	case api.PeerState_ACTIVE:
		return "active"
	case api.PeerState_OPENSENT:
		return "open-sent"
	case api.PeerState_OPENCONFIRM:
		return "open-confirm"
	case api.PeerState_ESTABLISHED:
		return "established"
	}
	return "unknown " + strconv.Itoa(int(s.SessionState))
}

// gobgpLogger passes gobgp's words on; its debugging is dropped.
type gobgpLogger struct{ log *slog.Logger }

func (l gobgpLogger) write(level slog.Level, msg string, fields gobgplog.Fields) {
	args := make([]any, 0, 2*len(fields))
	for k, v := range fields {
		args = append(args, strings.ToLower(k), v)
	}
	l.log.Log(context.Background(), level, msg, args...)
}

func (l gobgpLogger) Panic(msg string, f gobgplog.Fields) {
	l.write(slog.LevelError, msg, f)
	panic(msg)
}

func (l gobgpLogger) Fatal(msg string, f gobgplog.Fields) {
	l.write(slog.LevelError, msg, f)
	panic(msg)
}

func (l gobgpLogger) Error(msg string, f gobgplog.Fields) { l.write(slog.LevelError, msg, f) }
func (l gobgpLogger) Warn(msg string, f gobgplog.Fields)  { l.write(slog.LevelWarn, msg, f) }
func (l gobgpLogger) Info(msg string, f gobgplog.Fields)  { l.write(slog.LevelInfo, msg, f) }
func (l gobgpLogger) Debug(string, gobgplog.Fields)       {}
func (l gobgpLogger) SetLevel(gobgplog.LogLevel)          {}
func (l gobgpLogger) GetLevel() gobgplog.LogLevel         { return gobgplog.InfoLevel }
