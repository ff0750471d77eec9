package camara

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

const proper = `{"device":{"ipv6Address":"3fff:d55:1:2::1"},"applicationServer":{"ipv6Address":"3fff:d55:1:1:2c21:7047:e66c:e21a"},"qosProfile":"QOS_S","duration":60,
"devicePorts":{"ranges":[{"from":1,"to":2}],"ports":[3]},"sink":"https://sink.example/x","sinkCredential":{"credentialType":"ACCESSTOKEN","accessToken":"t","accessTokenType":"bearer","accessTokenExpiresUtc":"2030-01-01T00:00:00Z"}}`

func TestWhatIsWrongIsNamedByItsCode(t *testing.T) {
	if _, e := ReadCreateSession([]byte(proper)); e != nil {
		t.Fatal(e)
	}
	for _, c := range []struct{ from, to, code string }{
		{`"duration":60`, `"duration":0`, CodeInvalidArgument},
		{`"duration":60`, `"duration":1.5`, CodeInvalidArgument},
		{`"duration":60`, `"duration":null`, CodeInvalidArgument},
		{`"duration":60,`, ``, CodeInvalidArgument},
		{`"QOS_S"`, `"x"`, CodeInvalidArgument},
		{`"from":1`, `"from":3`, CodeOutOfRange},
		{`"from":1,`, ``, CodeInvalidArgument},
		{`[3]`, `[]`, CodeInvalidArgument},
		{`[3]`, `[65536]`, CodeOutOfRange},
		{`https://sink.example/x`, `http://sink.example/x`, CodeInvalidSink},
		{`https://sink.example/x`, `https://`, CodeInvalidSink},
		{`https://sink.example/x`, `https://u:p@sink.example`, CodeInvalidSink},
		{`ACCESSTOKEN`, `PLAIN`, CodeInvalidCredential},
		{`ACCESSTOKEN`, `REFRESHTOKEN`, CodeInvalidCredential},
		{`ACCESSTOKEN`, `OTHER`, CodeInvalidArgument},
		{`"bearer"`, `"mac"`, CodeInvalidToken},
		{`"accessToken":"t",`, ``, CodeInvalidArgument},
		{`"accessToken":"t"`, `"accessToken":"a\r\nb"`, CodeInvalidArgument},
		{`,"accessTokenExpiresUtc":"2030-01-01T00:00:00Z"`, ``, CodeInvalidArgument},
		{`2030-01-01T00:00:00Z`, `tomorrow`, CodeInvalidArgument},
		{`3fff:d55:1:2::1`, `3fff::/64`, CodeInvalidArgument},
		{`3fff:d55:1:2::1`, `fe80::1%eth0`, CodeInvalidArgument},
		{`"ipv6Address":"3fff:d55:1:2::1"`, `"phoneNumber":"123"`, CodeInvalidArgument},
		{`3fff:d55:1:1:2c21:7047:e66c:e21a`, `10.0.0.1`, CodeInvalidArgument},
		{proper, proper + `{}`, CodeInvalidArgument},
		{proper, `[]`, CodeInvalidArgument},
		{proper, `{`, CodeInvalidArgument},
	} {
		body := strings.Replace(proper, c.from, c.to, 1)
		if _, e := ReadCreateSession([]byte(body)); e == nil || e.Code != c.code || e.Status != 400 || e.Message == "" {
			t.Errorf("%s for %s: %+v, want %s", c.to, c.from, e, c.code)
		}
	}
}

// What was accepted and written down reads back the same: the journal holds it.
func FuzzWhatIsAcceptedReadsBack(f *testing.F) {
	f.Add([]byte(proper))
	f.Add([]byte(`{"applicationServer":{"ipv4Address":"198.51.100.0/24"},"qosProfile":"QOS_S","duration":1}`))
	f.Add([]byte(`{"device":{"ipv4Address":{"publicAddress":"203.0.113.0","publicPort":59765}},"applicationServer":{"ipv6Address":"::/0"},"qosProfile":"...","duration":2147483647}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, e := ReadCreateSession(b)
		if e != nil {
			if e.Status != 400 || e.Code == "" || e.Message == "" {
				t.Errorf("refused with %+v", e)
			}
			return
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		again, e := ReadCreateSession(text)
		if e != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%s reads back as %+v (%v)", text, again, e)
		}
		for _, read := range []func([]byte) *ErrorInfo{
			func(b []byte) *ErrorInfo { _, e := ReadExtendSession(b); return e },
			func(b []byte) *ErrorInfo { _, e := ReadRetrieveSessions(b); return e },
			func(b []byte) *ErrorInfo { _, e := ReadProfileQuery(b); return e },
		} {
			if e := read(b); e != nil && e.Status != 400 {
				t.Errorf("refused with %+v", e)
			}
		}
	})
}

func TestProfilesOfAFileAreChecked(t *testing.T) {
	if ps := StandardProfiles(); len(ps) < 4 || ps[0].Terms().MaxDelay == 0 {
		t.Errorf("the standard profiles are %+v", ps)
	}
	good := string(standard)
	for _, c := range []struct{ from, to, want string }{
		{`"dssn-qos-profiles/1"`, `"x"`, "format"},
		{`"QOS_S"`, `"QOS_M"`, "two profiles"},
		{`"QOS_S"`, `"a b"`, "no proper name"},
		{`"ACTIVE"`, `"ON"`, "status"},
		{`"Mbps"`, `"mph"`, "rate"},
		{`"Days"`, `"Weeks"`, "duration"},
		{`"priority": 10`, `"priority": 101`, "priority"},
		{`"maxDownstreamRate": {"value": 10, "unit": "Mbps"}`, `"maxDownstreamRate": {"value": 9, "unit": "Mbps"}`, "below"},
		{`"maxDuration": {"value": 1, "unit": "Days"}`, `"maxDuration": {"value": 1, "unit": "Milliseconds"}`, "raise maxDuration"},
		{`"priority": 10`, `"colour": 10`, "colour"},
	} {
		if !strings.Contains(good, c.from) {
			t.Fatalf("the standard profiles have no %s", c.from)
		}
		if _, err := ReadProfiles([]byte(strings.Replace(good, c.from, c.to, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v", c.to, c.from, err)
		}
	}
}

func TestEveryCodeHasItsAnswer(t *testing.T) {
	for code, k := range kinds {
		w := httptest.NewRecorder()
		WriteError(w, Fail(code, ""))
		var e ErrorInfo
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != k.status || e.Status != k.status || e.Code != code || e.Message != k.message {
			t.Errorf("%s is answered %d %s", code, w.Code, w.Body)
		}
		if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s has the headers %v", code, w.Header())
		}
	}
	if e := Fail("NO_SUCH_CODE", ""); e.Status != 500 {
		t.Errorf("an unknown code is answered %+v", e)
	}
}
