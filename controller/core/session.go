package core

import (
	"fmt"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// Sessions of CAMARA Quality-On-Demand. A session is a reservation with an end:
//
//	CreateSession ─▶ REQUESTED ── SessionReady ─▶ AVAILABLE ─▶ UNAVAILABLE ─▶ gone
//	                     └──── nobody enforces it ────────────────▲   (after sessionKept)
//
// The shell says SessionReady when the edge that lets the traffic in acts on the
// assignment that holds the reservation. Whatever ends the reservation ends the
// session, and each change that a sink is to hear of is a notice, kept until the
// shell has delivered it.

const (
	// sessionKept is how long an ended session can still be looked at; the
	// definition wants at least 360 s.
	sessionKept = 400 * time.Second
	// sessionReadyIn is how long the network has to enforce a new session.
	sessionReadyIn = 60 * time.Second
	// sessionDegradedFor is how long a session may lack its rate before it ends.
	sessionDegradedFor = 10 * time.Second
	// noticeKept is how long delivery of a notice is tried.
	noticeKept = 5 * time.Minute
)

// CreateSession asks for a session; the shell has checked the request's form.
type CreateSession struct {
	By          Principal            `json:"by"`
	ID          string               `json:"id"`          // a UUID, random
	Reservation dssn.ReservationID   `json:"reservation"` // random
	Request     camara.CreateSession `json:"request"`
	Terms       camara.Terms         `json:"terms"` // of the profile
}

// DeleteSession ends a session.
type DeleteSession struct {
	By Principal `json:"by"`
	ID string    `json:"id"`
}

// ExtendSession makes a session last longer.
type ExtendSession struct {
	By      Principal `json:"by"`
	ID      string    `json:"id"`
	Seconds int64     `json:"seconds"`
}

// SessionReady says that a session is enforced.
type SessionReady struct {
	ID string `json:"id"`
}

// NoticeDone says that a notice needs no more delivery; Gone that its sink wants
// to hear no more of that session.
type NoticeDone struct {
	ID   string `json:"id"`
	Gone bool   `json:"gone,omitempty"`
}

// Session is a session as it is remembered.
type Session struct {
	Client      string               `json:"client"` // who created it
	Device      string               `json:"device"` // the terminal
	Request     camara.CreateSession `json:"request"`
	Terms       camara.Terms         `json:"terms"`
	Reservation dssn.ReservationID   `json:"reservation"`
	// Ingress enforces it, from this generation of its assignments on.
	Ingress    string            `json:"ingress,omitempty"`
	Generation uint64            `json:"generation,omitempty"`
	Status     camara.Status     `json:"status"`
	Info       camara.StatusInfo `json:"info,omitempty"`
	Seconds    int64             `json:"seconds"` // granted; effective once it has ended
	Created    time.Time         `json:"created"`
	Started    time.Time         `json:"started,omitzero"`
	Expires    time.Time         `json:"expires,omitzero"` // planned; actual once it has ended
	// Degraded is since when it has lacked its rate.
	Degraded time.Time `json:"degraded,omitzero"`
	Forget   time.Time `json:"forget,omitzero"` // when it is gone
	Notices  int       `json:"notices,omitempty"`
	Muted    bool      `json:"muted,omitempty"` // its sink is gone
}

// Notice is a change of a session's status on its way to a sink.
type Notice struct {
	Session string            `json:"session"`
	Sink    string            `json:"sink"`
	Token   string            `json:"token,omitempty"` // bearer
	At      time.Time         `json:"at"`
	Status  camara.Status     `json:"status"`
	Info    camara.StatusInfo `json:"info,omitempty"`
	Until   time.Time         `json:"until"` // when delivery is given up
}

// code is a refusal with a code of CAMARA.
func code(c, format string, args ...any) error {
	e := camara.Fail(c, fmt.Sprintf(format, args...))
	return &Refusal{Kind: Invalid, Detail: e.Message, Code: c}
}

// device finds the terminal that a caller means: the one that its token or
// certificate names, or the one that d names.
func (c *Core) device(by Principal, d *camara.Device) (*Node, error) {
	if e := camara.DeviceOf(by, d, true); e != nil {
		return nil, code(e.Code, "%s", e.Message)
	}
	var n *Node
	if by.Device != "" {
		n = c.s.Nodes[by.Device]
	} else if id, err := dssn.ParseNodeID(d.Addr().String()); err == nil {
		n = c.nodeByID(id)
	}
	switch {
	case n == nil:
		return nil, code(camara.CodeDeviceNotFound, "")
	case n.Role != southbound.RoleTerminal:
		return nil, code(camara.CodeNotApplicable, "%s is no terminal: sessions carry data to terminals.", n.Name)
	case !mayRead(by, n.Institution):
		return nil, code(camara.CodeDeviceNotFound, "") // whether others have it is not the asker's to know
	}
	return n, nil
}

// served finds the dataset that a session's application server is.
func (c *Core) served(a *camara.ApplicationServer) (dssn.DataID, error) {
	addr, single := a.Addr()
	id, err := dssn.ParseDataID(addr.String())
	switch {
	case a.IPv6Address == "":
		return id, code(camara.CodeNotApplicable, "The application server must be a dataset's identifier, which is an IPv6 address: give ipv6Address.")
	case !single:
		return id, code(camara.CodeNotApplicable, "%s is a whole subnet: name one dataset.", a.IPv6Address)
	case err != nil || c.s.Datasets[id] == nil:
		return id, code(camara.CodeNotApplicable, "%s is not in the catalogue: check the identifier.", a.IPv6Address)
	}
	return id, nil
}

func (x *step) createSession(in *CreateSession) (*camara.SessionInfo, error) {
	if in.ID == "" || x.s.Sessions[in.ID] != nil {
		return nil, refuse(Invalid, "the session has no proper identifier: ask again")
	}
	n, err := x.device(in.By, in.Request.Device)
	if err != nil {
		return nil, err
	}
	id, err := x.served(&in.Request.ApplicationServer)
	if err != nil {
		return nil, err
	}
	for _, other := range x.tally.booked[reach{id, n.Name}] {
		if overlap(x.s.Reservations[other], x.now, x.now.Add(time.Duration(in.Request.Duration)*time.Second)) {
			return nil, code(camara.CodeConflict, "")
		}
	}
	for _, s := range x.s.Sessions {
		if s.Device != n.Name || s.Info != camara.NetworkTerminated {
			continue
		}
		if other, err := x.served(&s.Request.ApplicationServer); err == nil && other == id {
			return nil, code(camara.CodeConflict, "")
		}
	}
	s := &Session{Client: who(in.By), Device: n.Name, Request: in.Request, Terms: in.Terms, Created: x.now,
		Status: camara.Requested, Seconds: int64(in.Request.Duration)}
	s.Request.Device = in.Request.Device.Chosen()
	r, err := x.reserveFor(in, n.Name, id)
	refusal, _ := err.(*Refusal)
	switch {
	case err == nil:
		s.Reservation, s.Ingress = r.ID, r.Ingress
		x.s.Reservations[r.ID].Session = in.ID
		if is := x.s.Issued[r.Ingress]; is != nil {
			s.Generation = is.Generation
		}
	case refusal.Kind == Capacity || refusal.Kind == Conflict:
		// The network cannot do it now: the session is there, and has failed.
	default:
		return nil, err
	}
	if x.s.Sessions == nil {
		x.s.Sessions = map[string]*Session{}
	}
	x.s.Sessions[in.ID] = s
	x.wake(dueSession, in.ID, 0)
	x.event("session", n.Name, s.Reservation, "%s asked for the session %s of profile %s for %s", s.Client, in.ID, in.Request.Profile, id)
	if err != nil {
		x.endSession(in.ID, camara.NetworkTerminated, refusal.Detail)
	}
	return x.showSession(in.ID), nil
}

// reserveFor holds and commits what a session needs.
func (x *step) reserveFor(in *CreateSession, device string, id dssn.DataID) (*northbound.Reservation, error) {
	t := in.Terms
	q := northbound.ReservationRequest{Data: id, Committed: t.Committed, Ceiling: t.Ceiling, Class: t.Class, Priority: t.Priority, MaxDelay: t.MaxDelay,
		Until: x.now.Add(time.Duration(in.Request.Duration) * time.Second), Consumer: device}
	if _, err := x.reserve(&Reserve{By: in.By, ID: in.Reservation, Request: q, Bounds: true}); err != nil {
		return nil, err
	}
	r, err := x.commit(&Commit{By: in.By, ID: in.Reservation})
	if err != nil {
		x.terminate(x.s.Reservations[in.Reservation], err.Error())
	}
	return r, err
}

// ownSession finds a session that the caller created and, where its token names
// a device, that is for that device.
func (c *Core) ownSession(by Principal, id string) (*Session, error) {
	s := c.s.Sessions[id]
	switch {
	case s == nil:
		return nil, code(camara.CodeNotFound, "")
	case s.Client != who(by) || by.Device != "" && by.Device != s.Device:
		return nil, code(camara.CodePermissionDenied, "")
	}
	return s, nil
}

// ready makes a session available.
func (x *step) ready(in *SessionReady) error {
	s := x.s.Sessions[in.ID]
	if s == nil || s.Status != camara.Requested {
		return refuse(Unknown, "no session called %q waits for the network", in.ID)
	}
	r := x.s.Reservations[s.Reservation]
	if r == nil || r.State != northbound.StateActive {
		return refuse(Conflict, "the reservation of the session %s is not active", in.ID)
	}
	s.Status, s.Started = camara.Available, x.now
	s.Expires = x.now.Add(time.Duration(s.Seconds) * time.Second)
	if err := x.prolong(r, s.Expires); err != nil {
		s.Expires = r.Until // somebody else has what comes after
	}
	x.wake(dueSession, in.ID, 0)
	x.notify(in.ID, s)
	x.event("session", s.Device, s.Reservation, "the session %s is available until %s", in.ID, s.Expires.Format(time.RFC3339))
	return nil
}

func (x *step) extendSession(in *ExtendSession) (*camara.SessionInfo, error) {
	s, err := x.ownSession(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	if s.Status != camara.Available {
		return nil, code(camara.CodeNoExtension, "Extending the session duration is not allowed in the current state (%s). The session must be in the AVAILABLE state.", s.Status)
	}
	r, seconds := x.s.Reservations[s.Reservation], max(s.Seconds, min(s.Seconds+in.Seconds, s.Terms.MaxSeconds))
	expires := s.Started.Add(time.Duration(seconds) * time.Second)
	if err := x.prolong(r, expires); err != nil {
		return nil, code(camara.CodeNoExtension, "%s", err.Error())
	}
	s.Seconds, s.Expires = seconds, expires
	x.wake(dueSession, in.ID, 0)
	x.decided("extend", who(in.By), x.view(r))
	x.event("session", s.Device, s.Reservation, "the session %s lasts until %s", in.ID, s.Expires.Format(time.RFC3339))
	return x.showSession(in.ID), nil
}

func (x *step) deleteSession(in *DeleteSession) error {
	s, err := x.ownSession(in.By, in.ID)
	if err != nil {
		return err
	}
	if s.Status != camara.Unavailable {
		was := s.Status
		s.Status, s.Info = camara.Unavailable, camara.DeleteRequested
		if was == camara.Available {
			x.notify(in.ID, s)
		}
		r := x.s.Reservations[s.Reservation]
		r.Session = "" // its end is no news
		x.terminate(r, "its session was deleted by "+who(in.By))
	}
	x.event("session", s.Device, s.Reservation, "%s deleted the session %s", who(in.By), in.ID)
	delete(x.s.Sessions, in.ID)
	return nil
}

// endSession is what happens to a session whose reservation has ended, or that
// never got one.
func (x *step) endSession(id string, info camara.StatusInfo, why string) {
	s := x.s.Sessions[id]
	if s == nil || s.Status == camara.Unavailable {
		return
	}
	s.Status, s.Info, s.Expires, s.Forget, s.Degraded = camara.Unavailable, info, x.now, x.now.Add(sessionKept), time.Time{}
	s.Seconds = 1
	if !s.Started.IsZero() {
		s.Seconds = max(1, int64(x.now.Sub(s.Started)/time.Second))
	}
	x.wake(dueSession, id, 0)
	x.notify(id, s)
	x.event("session", s.Device, s.Reservation, "the session %s is unavailable (%s): %s", id, info, why)
}

// sessionOf ends the session of a reservation that has just been terminated.
func (x *step) sessionOf(r *Reservation) {
	info := camara.NetworkTerminated
	if s := x.s.Sessions[r.Session]; s != nil && s.Status == camara.Available && !s.Expires.After(x.now) {
		info = camara.DurationExpired
	}
	x.endSession(r.Session, info, r.Reason)
}

// notify leaves a notice of a session's status, if somebody is to hear it.
func (x *step) notify(id string, s *Session) {
	if s.Request.Sink == "" || s.Muted {
		return
	}
	n := &Notice{Session: id, Sink: s.Request.Sink, At: x.now, Status: s.Status, Info: s.Info, Until: x.now.Add(noticeKept)}
	if c := s.Request.SinkCredential; c != nil {
		if !c.Expires.After(x.now) {
			return // "the client will stop receiving notifications"
		}
		n.Token, n.Until = c.AccessToken, earlier(n.Until, c.Expires)
	}
	s.Notices++
	if x.s.Notices == nil {
		x.s.Notices = map[string]*Notice{}
	}
	notice := fmt.Sprintf("%s-%d", id, s.Notices)
	x.s.Notices[notice] = n
	x.wake(dueNotice, notice, 0)
}

func (x *step) noticeDone(in *NoticeDone) error {
	n := x.s.Notices[in.ID]
	if n == nil {
		return refuse(Unknown, "no notice is called %q", in.ID)
	}
	delete(x.s.Notices, in.ID)
	if s := x.s.Sessions[n.Session]; s != nil && in.Gone {
		s.Muted = true
	}
	return nil
}

// end is when something of a session is over.
func (s *Session) end() time.Time {
	switch {
	case s.Status == camara.Unavailable:
		return s.Forget
	case s.Status == camara.Requested:
		return s.Created.Add(sessionReadyIn)
	case !s.Degraded.IsZero():
		return earlier(s.Expires, s.Degraded.Add(sessionDegradedFor))
	}
	return s.Expires
}

// sessionOver carries out that a session's end has come.
func (x *step) sessionOver(id string) {
	s := x.s.Sessions[id]
	if s == nil || s.end().After(x.now) {
		return // its reservation has ended in this very step
	}
	r := x.s.Reservations[s.Reservation]
	switch {
	case s.Status == camara.Unavailable:
		delete(x.s.Sessions, id)
	case s.Status == camara.Requested:
		x.terminate(r, "no edge has enforced it in time")
	case !s.Expires.After(x.now):
		x.terminate(r, "its time ran out")
	default:
		x.terminate(r, "the network could not keep its rate: "+r.Reason)
	}
}

// sessionRate notes since when the session of a reservation lacks its rate.
func (x *step) sessionRate(r *Reservation) {
	s := x.s.Sessions[r.Session]
	switch {
	case s == nil || s.Status == camara.Unavailable:
	case r.State != northbound.StateDegraded:
		s.Degraded = time.Time{}
		x.wake(dueSession, r.Session, 0)
	case s.Degraded.IsZero():
		s.Degraded = x.now
		x.wake(dueSession, r.Session, 0)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (c *Core) showSession(id string) *camara.SessionInfo {
	s := c.s.Sessions[id]
	out := &camara.SessionInfo{Flow: s.Request.Flow, ID: id, Duration: int32(s.Seconds), Status: s.Status, Info: s.Info, Expires: s.Expires}
	if s.Status == camara.Available {
		out.Started = s.Started
	}
	return out
}

// Session shows one of the caller's sessions.
func (c *Core) Session(by Principal, id string) (camara.SessionInfo, error) {
	if _, err := c.ownSession(by, id); err != nil {
		return camara.SessionInfo{}, err
	}
	return *c.showSession(id), nil
}

// SessionsOf lists the caller's sessions of a device.
func (c *Core) SessionsOf(by Principal, d *camara.Device) (out []camara.SessionInfo, err error) {
	n, err := c.device(by, d)
	if err != nil {
		return nil, err
	}
	for _, id := range sortedKeys(c.s.Sessions) {
		if s := c.s.Sessions[id]; s.Device == n.Name && s.Client == who(by) {
			out = append(out, *c.showSession(id))
		}
	}
	return out, nil
}

// Access is the rate of the access link of the device that a caller means.
func (c *Core) Access(by Principal, d *camara.Device) (dssn.Bandwidth, error) {
	n, err := c.device(by, d)
	if err != nil {
		return 0, err
	}
	return n.Access, nil
}

// SessionCounts says how many sessions stand where.
func (c *Core) SessionCounts() map[camara.Status]int {
	out := map[camara.Status]int{}
	for _, s := range c.s.Sessions {
		out[s.Status]++
	}
	return out
}

// Waiting is a session that the network does not enforce yet.
type Waiting struct {
	ID         string
	Ingress    dssn.NodeID
	Generation uint64
}

// Waiting lists the sessions that are REQUESTED and could be ready.
func (c *Core) Waiting() (out []Waiting) {
	for _, id := range sortedKeys(c.s.Sessions) {
		s := c.s.Sessions[id]
		r := c.s.Reservations[s.Reservation]
		if n := c.s.Nodes[s.Ingress]; s.Status == camara.Requested && n != nil && r != nil && r.State == northbound.StateActive {
			out = append(out, Waiting{id, n.Node, s.Generation})
		}
	}
	return out
}

// Notices returns what is still to be delivered, by identifier.
func (c *Core) Notices() map[string]Notice {
	out := make(map[string]Notice, len(c.s.Notices))
	for id, n := range c.s.Notices {
		out[id] = *n
	}
	return out
}
