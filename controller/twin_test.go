package controller_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"dssn/controller/northbound/camara"
	"dssn/internal/need"
)

// Whatever the release's schema refuses, our checks refuse: random changes of a
// proper request are shown to both.
func TestWhatTheSchemaRefusesIsRefused(t *testing.T) {
	need.File(t, "CAMARA's definitions, release r3.2 (../shared/conformance/camara-qod)", official)
	o := definition(t, "quality-on-demand.yaml")
	const proper = `{"device":{"ipv6Address":"3fff:d55:1:2::1","ipv4Address":{"publicAddress":"203.0.113.0","publicPort":9},"phoneNumber":"+123456789"},
"applicationServer":{"ipv6Address":"3fff:d55::/64","ipv4Address":"198.51.100.0/24"},"qosProfile":"QOS_S","duration":60,
"devicePorts":{"ranges":[{"from":1,"to":2}],"ports":[3]},"applicationServerPorts":{"ports":[3]},"sink":"https://sink.example/x",
"sinkCredential":{"credentialType":"ACCESSTOKEN","accessToken":"t","accessTokenType":"bearer","accessTokenExpiresUtc":"2030-01-01T00:00:00Z"}}`
	values := []any{nil, 0.0, -1.0, 1.0, 70000.0, 2147483648.0, 1.5, "", "x", "QOS_M", "+1", "10.0.0.1", "::1", "https://x", true, []any{}, []any{1.0}, map[string]any{}, map[string]any{"from": 1.0, "to": 2.0}}
	random := rand.New(rand.NewPCG(8, 1))
	refused, accepted := 0, 0
	for range 20_000 {
		var v any
		if err := json.Unmarshal([]byte(proper), &v); err != nil {
			t.Fatal(err)
		}
		for range 1 + random.IntN(2) {
			v = changed(random, v, values)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		_, e := camara.ReadCreateSession(text)
		switch err := o.judge("/components/schemas/CreateSession", v); {
		case err != nil && e == nil:
			t.Fatalf("%s is accepted, and the schema says: %v", text, err)
		case err != nil:
			refused++
		case e == nil:
			accepted++
		}
	}
	if refused < 1000 || accepted < 1000 {
		t.Errorf("%d were refused and %d accepted by both: the changes test little", refused, accepted)
	}
}

// changed returns v with one thing in it removed or replaced.
func changed(random *rand.Rand, v any, values []any) any {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for k := range v {
			names = append(names, k)
		}
		if len(names) == 0 {
			return v
		}
		slices.Sort(names) // the same in every run
		name := names[random.IntN(len(names))]
		switch random.IntN(4) {
		case 0:
			delete(v, name)
		case 1:
			v[name] = plain(values[random.IntN(len(values))])
		default:
			v[name] = changed(random, v[name], values)
		}
		return v
	case []any:
		if len(v) > 0 && random.IntN(2) == 0 {
			v[0] = changed(random, v[0], values)
			return v
		}
	}
	return plain(values[random.IntN(len(values))])
}
