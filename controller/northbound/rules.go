package northbound

import (
	"fmt"
	"strings"

	"dssn"
)

// Terms are the conditions of a grant beside data, party and end. Every one that
// is set narrows it; the zero value narrows nothing.
type Terms struct {
	// Grades and Categories, if there are any, are the only ones reached.
	Grades     []dssn.Grade    `json:"grades,omitempty"`
	Categories []dssn.Category `json:"categories,omitempty"`
	// Purpose is what the data may be used for, in words.
	Purpose string `json:"purpose,omitempty"`
	// Windows, if there are any, are the only times in which it has effect.
	Windows []Window `json:"windows,omitempty"`
	// Quota is how many bytes may be sent under it, as the meters of the holders'
	// terminals count them: inside packets, with their headers. 0: no limit.
	Quota dssn.ByteCount `json:"quota_bytes,omitempty"`
	// Transfers is how many transfers may begin under it. 0: no limit.
	Transfers int `json:"transfers,omitempty"`
	// Hubs, if there are any, are the backbone nodes at one of which a terminal
	// has to be for the data to reach it.
	Hubs []string `json:"hubs,omitempty"`
}

// Window is a time that recurs every week, by the clock of a zone.
type Window struct {
	// Days are of mon, tue, wed, thu, fri, sat, sun; none means every day. They
	// are those on which the window begins.
	Days []string `json:"days,omitempty"`
	From string   `json:"from"` // 15:04
	// To is after From, or on the day after if it is not; 24:00 is midnight.
	To   string `json:"to"`
	Zone string `json:"zone,omitempty"` // as in the IANA's database, such as Asia/Shanghai; empty: UTC
}

// String returns the form that the command line reads.
func (w Window) String() string {
	days := "daily"
	if len(w.Days) > 0 {
		days = strings.Join(w.Days, ",")
	}
	zone := w.Zone
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("%s %s-%s %s", days, w.From, w.To, zone)
}

// Enforcer says who keeps a rule of a grant.
type Enforcer string

// The enforcers. What the network keeps is in the assignments: without it there
// is no route, meter or peer, whatever a terminal's programs try. What the
// terminal keeps is refused by the holder's server. What only the record keeps
// stands in the evidence log for whoever audits.
const (
	ByNetwork  Enforcer = "network"
	ByTerminal Enforcer = "terminal"
	ByRecord   Enforcer = "record"
)

// Rule is one condition of a grant, with who keeps it.
type Rule struct {
	Rule     string     `json:"rule"`
	Value    string     `json:"value"`
	Enforced []Enforcer `json:"enforced_by"`
}

// RulesOf lists the conditions of a grant.
func RulesOf(g *Grant) (out []Rule) {
	add := func(rule, value string, by ...Enforcer) { out = append(out, Rule{rule, value, by}) }
	add("data", strings.TrimSuffix(g.Data.String(), "/128"), ByNetwork, ByTerminal)
	switch {
	case g.ToRole != "":
		add("role", g.ToRole, ByNetwork, ByTerminal)
	case g.ToNode != "":
		add("node", g.ToNode, ByNetwork, ByTerminal)
	default:
		add("institution", g.To, ByNetwork, ByTerminal)
	}
	add("until", g.Until.Format("2006-01-02T15:04:05Z07:00"), ByNetwork, ByTerminal)
	if len(g.Grades) > 0 {
		add("grade", join(g.Grades), ByNetwork, ByTerminal)
	}
	if len(g.Categories) > 0 {
		add("category", join(g.Categories), ByNetwork, ByTerminal)
	}
	if g.Purpose != "" {
		add("purpose", g.Purpose, ByRecord)
	}
	if len(g.Windows) > 0 {
		add("window", join(g.Windows), ByNetwork, ByTerminal)
	}
	if g.Quota > 0 {
		add("quota", g.Quota.String(), ByNetwork)
	}
	if g.Terms.Transfers > 0 {
		add("transfers", fmt.Sprint(g.Terms.Transfers), ByTerminal, ByNetwork)
	}
	if len(g.Hubs) > 0 {
		add("hub", strings.Join(g.Hubs, ", "), ByNetwork)
	}
	return out
}

func join[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

// RoleRequest sets the roles that a party has, by which grants can name it.
type RoleRequest struct {
	Party string   `json:"party"` // an institution or a node
	Roles []string `json:"roles"` // all of them; none takes every role away
}

// Roles are the roles of a party, its own only.
type Roles struct {
	Institution string   `json:"institution"`
	Node        string   `json:"node,omitempty"`
	Roles       []string `json:"roles"`
}
