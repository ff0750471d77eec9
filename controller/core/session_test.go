package core_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
)

// session is the identifier of the n-th session of a script.
func session(n string) string { return "00000000-0000-4000-8000-" + strings.Repeat("0", 12-len(n)) + n }

// qod runs the lines about CAMARA's sessions and about what is said twice; ok is
// false for others.
func (s *script) qod(w []string) (answer string, err error, ok bool) {
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	who := func() core.Principal {
		p := s.by(arg(1))
		if p.Node != "" {
			p.Device = p.Node
		}
		return p
	}
	n := func(name string) int64 { v, _ := strconv.ParseInt(option(w, name), 10, 64); return v }
	switch w[0] {
	case "session": // session BY N DATA for=SECONDS [committed=] [device=] [sink] [max=]
		q := camara.CreateSession{Duration: int32(n("for"))}
		q.Profile = "QOS_S"
		q.ApplicationServer.IPv6Address = s.dataset(arg(3)).String()
		if d := option(w, "device"); d != "" {
			q.Device = &camara.Device{IPv6Address: s.node(d).String()}
		}
		if w[len(w)-1] == "sink" {
			q.Sink = "https://sink.example/"
		}
		t := camara.Terms{Class: dssn.ClassElastic, Committed: max(rate(option(w, "committed")), dssn.Mbps), Priority: 10, MinSeconds: 1, MaxSeconds: max(n("max"), 100)}
		t.Ceiling = t.Committed
		r, err := s.step(core.Input{CreateSession: &core.CreateSession{By: who(), ID: session(arg(2)), Reservation: dssn.ReservationID(s.n), Request: q, Terms: t}})
		return shownSession(r.Session), err, true
	case "ready":
		_, err := s.step(core.Input{SessionReady: &core.SessionReady{ID: session(arg(1))}})
		return "ready", err, true
	case "lengthen": // lengthen BY N SECONDS
		v, _ := strconv.ParseInt(arg(3), 10, 64)
		r, err := s.step(core.Input{ExtendSession: &core.ExtendSession{By: who(), ID: session(arg(2)), Seconds: v}})
		return shownSession(r.Session), err, true
	case "delete": // delete BY N
		_, err := s.step(core.Input{DeleteSession: &core.DeleteSession{By: who(), ID: session(arg(2))}})
		return "deleted", err, true
	case "look": // look BY N
		v, err := s.c.Session(who(), session(arg(2)))
		return shownSession(&v), err, true
	case "notices": // what sinks are still to be told
		var out []string
		for n, v := range s.c.Notices() {
			out = append(out, fmt.Sprintf("%s %s%s", strings.TrimLeft(n[24:], "0"), v.Status, map[bool]string{true: " " + string(v.Info)}[v.Info != ""]))
		}
		return strings.Join(sorted(out), ", "), nil, true
	case "told": // told N-M [gone]
		_, err := s.step(core.Input{NoticeDone: &core.NoticeDone{ID: session(strings.Split(arg(1), "-")[0]) + "-" + strings.Split(arg(1), "-")[1], Gone: arg(2) == "gone"}})
		return "told", err, true
	case "once": // once KEY DIGEST institution NAME
		r, err := s.step(core.Input{Once: &core.Once{Client: "operator", Key: arg(1), Digest: []byte(arg(2))},
			AddInstitution: &core.AddInstitution{By: operator, Request: northbound.InstitutionRequest{Name: arg(4)}}})
		if err != nil {
			return "", err, true
		}
		return r.Institution.Name + " " + r.Institution.Registrant.String(), nil, true
	case "matching": // matching now|then release NODE DATA: "then" is a tag of the past
		id := s.res[arg(3)+"/"+arg(4)]
		v, _ := s.c.Reservation(operator, id)
		tag := northbound.ETag(v)
		if arg(1) == "then" {
			v.Allocated++
			tag = northbound.ETag(v)
		}
		r, err := s.step(core.Input{Match: tag, Release: &core.Release{By: operator, ID: id}})
		return shown(r.Reservation), err, true
	}
	return "", nil, false
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

func shownSession(v *camara.SessionInfo) string {
	if v == nil {
		return ""
	}
	text := fmt.Sprintf("%s of %d s", v.Status, v.Duration)
	if v.Info != "" {
		text += " (" + string(v.Info) + ")"
	}
	if !v.Started.IsZero() {
		text += " since " + v.Started.Format(time.TimeOnly)
	}
	if !v.Expires.IsZero() {
		text += " until " + v.Expires.Format(time.TimeOnly)
	}
	return text
}
