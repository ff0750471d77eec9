package ledger_test

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

func bill(t *testing.T) northbound.Bill {
	t.Helper()
	tariff := ledger.Standard()
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	end := from.Add(10 * time.Second)
	rec := northbound.UsageRecord{Kind: "usage", Transfer: "t1", Payer: "south", Bytes: 1_073_741_824, Ended: end}
	rec.Hash = ledger.RecordHash(&rec)
	b, err := ledger.Bill(tariff, nil, from, from.AddDate(0, 1, 0), northbound.BillRecords{Period: northbound.PeriodRecord{Institution: "south"},
		Transfers: []northbound.UsageRecord{rec},
		Contracts: []northbound.ContractRecord{{Reservation: 1, Institution: "south", Class: dssn.ClassElastic, Priority: 10, Activated: from, Ended: end,
			Segments:  []northbound.ContractSegment{{Committed: dssn.Gbps, From: from, To: end}}, // 1.25 GB
			Intervals: []northbound.UsageInterval{{Reservation: 1, From: from, To: end, Sent: 250_000_000, Received: 250_000_000, Agreed: end}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABillIsVerifiedByRatingItAgain(t *testing.T) {
	b := bill(t)
	if err := ledger.VerifyBill(b, ledger.Standard()); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*northbound.Bill){
		"total":     func(b *northbound.Bill) { b.Total = "1.08" },
		"quantity":  func(b *northbound.Bill) { b.Lines[0].Quantity = "2" },
		"amount":    func(b *northbound.Bill) { b.Lines[0].Amount = "2" },
		"price":     func(b *northbound.Bill) { b.Lines[0].Price = "0.03" },
		"tariff":    func(b *northbound.Bill) { b.TariffHash = strings.Repeat("0", 64) },
		"dimension": func(b *northbound.Bill) { b.Lines[0].Dimension = "gold" },
		"number":    func(b *northbound.Bill) { b.Lines[0].Quantity = "NaN" },
		"line":      func(b *northbound.Bill) { b.Lines = b.Lines[1:] },
		"currency":  func(b *northbound.Bill) { b.Currency = "EUR" },
	} {
		c := bill(t)
		change(&c)
		if err := ledger.VerifyBill(c, ledger.Standard()); err == nil {
			t.Errorf("a bill with another %s was verified", what)
		}
	}
}

func TestFOCUSHasEveryLineOnceAndSaysWhatWasUnused(t *testing.T) {
	var text strings.Builder
	b := bill(t)
	if err := ledger.WriteFOCUS(&text, b, "DSSN"); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
	if err != nil || len(rows) != len(b.Lines)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	column := map[string]int{}
	for i, c := range rows[0] {
		column[c] = i
	}
	used := map[string]string{}
	for i, r := range rows[1:] {
		if r[column["BilledCost"]] != b.Lines[i].Amount || r[column["x_RecordHash"]] != b.Lines[i].Record {
			t.Errorf("row %d is %v", i+1, r)
		}
		if s := r[column["CapacityReservationStatus"]]; s != "" {
			used[s] = r[column["PricingQuantity"]]
		}
	}
	if used["Used"] != "2" || used["Unused"] != "8" { // of 10 Gbit/s·s, a quarter gigabyte
		t.Errorf("used and unused are %v", used)
	}
}

func TestOnlySettledTransfersAreExported(t *testing.T) {
	id, err := dssn.ParseDataID("3fff:d55:1:1:2c21:7047:e66c:e21a")
	if err != nil {
		t.Fatal(err)
	}
	ts := []northbound.Transfer{{ID: "a", State: northbound.TransferRunning}, {ID: "b", State: northbound.TransferSettled, Payer: "south", Owner: "north",
		Record: &northbound.UsageRecord{Transfer: "b", Data: id, Name: "rain", Bytes: 7, Owner: "north", Payer: "south", Hash: "h"}}}
	tmf := ledger.TMF635(ts)
	events := ledger.CloudEvents(ts, "/dssn/test")
	if len(tmf) != 1 || tmf[0].ID != "b" || len(events) != 1 || events[0].ID != "b" || events[0].SpecVersion != "1.0" {
		t.Errorf("%+v, %+v", tmf, events)
	}
	if _, err := json.Marshal([]any{tmf, events}); err != nil {
		t.Error(err)
	}
}

// What the formats demand of each row or object, by their own field lists: FOCUS
// 1.1's mandatory columns and allowed values, TMF635 v4's Usage, CloudEvents 1.0.
func TestExportsHaveTheFieldsThatTheirFormatsDemand(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 1, 0)
	r := contract(dssn.Gbps, from.Add(time.Hour), from.Add(2*time.Hour))
	bulk := contract(0, from.Add(time.Hour), from.Add(2*time.Hour)).Contracts[0]
	bulk.Reservation, bulk.Volume, bulk.Judged = 2, 1e9, from.Add(2*time.Hour) // missed
	r.Contracts = append(r.Contracts, bulk)
	c := &r.Contracts[0]
	c.Intervals = []northbound.UsageInterval{{Reservation: 1, From: c.Activated, To: c.Activated.Add(5 * time.Minute), Received: 90e9, Agreed: c.Ended}}
	r.Period.Created = from
	tariff, err := ledger.Read([]byte(`{"version":"v","currency":"CNY","prices":{"verified-bytes":"1","reserved-bandwidth":"1","burst-bytes":"1","set-up":"1","flat":"2","deadline-missed":"-1","reserved-hours":"1","percentile-bandwidth":"1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ledger.Bill(tariff, nil, from, to, r)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := ledger.WriteFOCUS(&text, b, "DSSN"); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	notNull := []string{"BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargePeriodEnd",
		"ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"}
	for _, name := range append([]string{"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}, notNull...) {
		if _, has := column[name]; !has {
			t.Errorf("the mandatory column %s is missing", name)
		}
	}
	for name := range column {
		if strings.Contains(name, "_") && !strings.HasPrefix(name, "x_") {
			t.Errorf("the column %s is ours and does not begin with x_", name)
		}
	}
	allowed := map[string][]string{"ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}, "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
		"ChargeClass": {"", "Correction"}, "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"}, "CapacityReservationStatus": {"", "Used", "Unused"}, "ServiceCategory": {"Networking"}}
	seen := map[string]bool{}
	for i, row := range rows[1:] {
		at := func(name string) string { return row[column[name]] }
		for _, name := range notNull {
			if at(name) == "" {
				t.Errorf("row %d has no %s", i+1, name)
			}
		}
		for name, values := range allowed {
			if !slices.Contains(values, at(name)) {
				t.Errorf("row %d has the %s %q", i+1, name, at(name))
			}
		}
		for _, name := range []string{"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"} {
			if v, err := time.Parse("2006-01-02T15:04:05Z", at(name)); err != nil {
				t.Errorf("row %d: %s is %v (%v)", i+1, name, v, err)
			}
		}
		if (at("CapacityReservationId") != "") != (at("CapacityReservationStatus") != "") || at("CapacityReservationStatus") == "Unused" && at("ConsumedQuantity") != "" {
			t.Errorf("row %d is %v", i+1, row)
		}
		if at("ChargeCategory") == "Purchase" && at("ChargeFrequency") == "Usage-Based" || at("ChargeCategory") == "Credit" && !strings.HasPrefix(at("BilledCost"), "-") {
			t.Errorf("row %d is %v", i+1, row)
		}
		seen[at("SkuId")] = true
	}
	for _, dim := range []string{"set-up", "reserved-bandwidth", "burst-bytes", "reserved-hours", "percentile-bandwidth", "deadline-missed", "flat"} {
		if !seen[dim] {
			t.Errorf("no row is for %s", dim)
		}
	}

	id, err := dssn.ParseDataID("3fff:d55:1:1:2c21:7047:e66c:e21a")
	if err != nil {
		t.Fatal(err)
	}
	ts := []northbound.Transfer{{ID: "b", State: northbound.TransferSettled, Payer: "south", Owner: "north",
		Record: &northbound.UsageRecord{Transfer: "b", Data: id, Name: "rain", Bytes: 7, Owner: "north", Payer: "south", Hash: "h", Ended: from}}}
	fields := func(v any) map[string]any {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]any{}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	usage := fields(ledger.TMF635(ts)[0])
	known := []string{"id", "href", "description", "usageDate", "usageType", "ratedProductUsage", "relatedParty", "status", "usageCharacteristic", "usageSpecification", "@baseType", "@schemaLocation", "@type"}
	for name := range usage {
		if !slices.Contains(known, name) {
			t.Errorf("TMF635's Usage has no field %s", name)
		}
	}
	if !slices.Contains([]string{"received", "rejected", "recycled", "guided", "rated", "rerated", "billed"}, usage["status"].(string)) {
		t.Errorf("the status of a usage is %v", usage["status"])
	}
	for _, c := range usage["usageCharacteristic"].([]any) {
		if c := c.(map[string]any); c["name"] == nil || c["value"] == nil {
			t.Errorf("a characteristic needs name and value: %v", c)
		}
	}
	for _, p := range usage["relatedParty"].([]any) {
		if p := p.(map[string]any); p["id"] == nil || p["@referredType"] == nil {
			t.Errorf("a related party needs id and @referredType: %v", p)
		}
	}
	event := fields(ledger.CloudEvents(ts, "/dssn/test")[0])
	for _, name := range []string{"id", "source", "specversion", "type"} {
		if s, ok := event[name].(string); !ok || s == "" {
			t.Errorf("an event has the %s %v", name, event[name])
		}
	}
	for name := range event {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("an event's attribute cannot be called %s", name)
		}
	}
	if _, err := url.Parse(event["source"].(string)); err != nil {
		t.Error(err)
	}
	if _, err := time.Parse(time.RFC3339, event["time"].(string)); err != nil {
		t.Error(err)
	}
}

// Whatever a bill file says, verifying it ends, and what is accepted comes out
// the same from its records.
func FuzzVerifyFile(f *testing.F) {
	b := func() northbound.BillFile {
		from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		text, _ := ledger.Example("national")
		tariff, err := ledger.Read(text)
		if err != nil {
			f.Fatal(err)
		}
		to := from.AddDate(0, 0, 3)
		zone, err := ledger.Offsets(tariff.Zone, from, to)
		if err != nil {
			f.Fatal(err)
		}
		r := contract(dssn.Gbps, from, from.Add(time.Hour))
		r.Period = northbound.PeriodRecord{Kind: "period", Institution: "south", From: from, To: to}
		bill, err := ledger.Bill(tariff, zone, from, to, r)
		if err != nil {
			f.Fatal(err)
		}
		return northbound.BillFile{Format: northbound.BillFileFormat, Bill: bill, Tariff: text, Records: r}
	}()
	text, err := json.Marshal(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":"dssn-bill/1","tariff":{"version":"v","currency":"CNY","prices":{"flat":"1"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		file, err := ledger.ReadFile(text)
		if err != nil {
			return
		}
		hash, err := ledger.VerifyFile(file)
		if err == nil && hash != ledger.BillHash(file.Bill) {
			t.Errorf("the hash is %s", hash)
		}
	})
}
