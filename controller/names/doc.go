// Package names is the name server that a controller runs on request: ordinary
// programs find a dataset's identifier by NAME.REGISTRANT.data.DOMAIN (AAAA), and
// its name by the identifier (PTR under ip6.arpa).
//
//	query bytes ── Zone.Answer(query, over, View) ──▶ answer bytes     (pure: answer.go, names.go)
//	sockets, connections, rate limits                                  (server.go, limit.go)
//
// It answers for two zones, data.DOMAIN and the reverse zone of the operator's
// /32, and refuses everything else: it is no resolver. A name and a registrant
// are one label each, whatever characters they have (RFC 2181, section 11), so
// a dot within one is written \. by those who ask.
//
// A Zone is a value and may be used by many goroutines; the View says for itself
// what it allows.
package names
