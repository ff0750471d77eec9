package northbound_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
)

func TestTheCatalogueInDCAT(t *testing.T) {
	id := func(s string) dssn.DataID {
		d, err := dssn.ParseDataID(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	old, now := id("3fff:d55:1:1:2c21:7047:e66c:e21a"), id("3fff:d55:1:1:2c21:c4c:d845:eaa")
	when := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	record := content.Record{ID: now, Name: "rain \"2026\"", Registrant: netip.MustParsePrefix("3fff:d55:1:1::/64"), Grade: now.Grade(), Category: now.Category(),
		Root: content.Hash([]byte("x")), Length: 12345, Files: 2, Created: when}
	text, err := northbound.DCAT("net", []northbound.Dataset{{Record: record, Institution: "north", Registered: when.Add(time.Hour), Supersedes: old}})
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	// Every name must have a prefix that the context explains.
	context := doc["@context"].(map[string]any)
	var names func(v any)
	names = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				names(e)
			}
		case map[string]any:
			for k, e := range v {
				if prefix, _, compact := strings.Cut(k, ":"); !strings.HasPrefix(k, "@") && (!compact || context[prefix] == nil) {
					t.Errorf("the name %q has no prefix of the context", k)
				}
				if k != "@context" {
					names(e)
				}
			}
		}
	}
	names(doc)
	d := doc["dcat:dataset"].([]any)[0].(map[string]any)
	for path, want := range map[string]string{
		"@id": "http://[" + now.String() + "]/", "@type": "dcat:Dataset", "dct:identifier": now.String(), "dct:title": `rain "2026"`,
		"dct:publisher/foaf:name": "north", "dct:issued/@value": "2026-11-25T09:00:00Z", "dcat:previousVersion/@id": "http://[" + old.String() + "]/",
		"dcat:distribution/0/dcat:byteSize/@value": "12345", "dcat:distribution/1/spdx:checksum/spdx:checksumValue/@value": record.Root.String(),
	} {
		var v any = d
		for _, k := range strings.Split(strings.ReplaceAll(path, "http://", ""), "/") {
			switch at := v.(type) {
			case map[string]any:
				v = at[k]
			case []any:
				v = at[k[0]-'0']
			}
		}
		if v != want {
			t.Errorf("%s is %v, want %s", path, v, want)
		}
	}
	if d["dct:isReplacedBy"] != nil {
		t.Error("nothing replaces it")
	}
	if text, err := northbound.DCAT("net", nil); err != nil || !strings.Contains(string(text), `"dcat:dataset": []`) {
		t.Errorf("an empty catalogue is %s, %v", text, err)
	}
}
