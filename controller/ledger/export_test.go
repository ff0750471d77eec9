package ledger_test

import (
	"encoding/csv"
	"encoding/json"
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
