package ledger

import (
	"encoding/csv"
	"io"
	"time"

	"dssn/controller/northbound"
)

// focusColumns are those of FOCUS 1.1 (FinOps Open Cost and Usage Specification)
// that a bill can fill, and two of our own, which the specification wants to
// begin with x_.
var focusColumns = []string{
	"BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd",
	"CapacityReservationId", "CapacityReservationStatus", "ChargeCategory", "ChargeDescription", "ChargeFrequency",
	"ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity", "ConsumedUnit", "EffectiveCost", "InvoiceIssuerName",
	"ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
	"ResourceId", "ServiceCategory", "ServiceName", "SkuId", "x_RecordHash", "x_TariffHash",
}

// WriteFOCUS writes a bill as FOCUS CSV, one row per line. Costs are exact; the
// bill's total is rounded, so the column's sum may differ from it by half a cent.
func WriteFOCUS(w io.Writer, b northbound.Bill, provider string) error {
	out := csv.NewWriter(w)
	if err := out.Write(focusColumns); err != nil {
		return err
	}
	from, to := b.From.UTC().Format(time.RFC3339), b.To.UTC().Format(time.RFC3339)
	for _, l := range b.Lines {
		row := map[string]string{
			"BilledCost": l.Amount, "EffectiveCost": l.Amount, "ListCost": l.Amount, "ListUnitPrice": l.Price,
			"BillingAccountId": b.Institution, "BillingCurrency": b.Currency,
			"BillingPeriodStart": from, "BillingPeriodEnd": to, "ChargePeriodStart": from, "ChargePeriodEnd": to,
			"ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "ChargeDescription": l.Dimension + " of " + l.Subject,
			"ConsumedQuantity": l.Quantity, "ConsumedUnit": l.Unit, "PricingQuantity": l.Quantity, "PricingUnit": l.Unit, "PricingCategory": "Standard",
			"ProviderName": provider, "PublisherName": provider, "InvoiceIssuerName": provider,
			"ResourceId": l.Subject, "ServiceCategory": "Networking", "ServiceName": "Data switching service network", "SkuId": b.Tariff + "/" + l.Dimension,
			"x_RecordHash": l.Record, "x_TariffHash": b.TariffHash,
		}
		switch Dimension(l.Dimension) {
		case DimensionSetUp:
			row["ChargeCategory"], row["ChargeFrequency"] = "Purchase", "One-Time"
			row["ConsumedQuantity"], row["ConsumedUnit"] = "", ""
		case DimensionReserved:
			row["CapacityReservationId"], row["CapacityReservationStatus"] = l.Subject, l.Status
			if l.Status == "Unused" {
				row["ConsumedQuantity"], row["ConsumedUnit"] = "", ""
			}
		}
		cells := make([]string, len(focusColumns))
		for i, c := range focusColumns {
			cells[i] = row[c]
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Characteristic is a named value of a TMF635 usage.
type Characteristic struct {
	Name      string `json:"name"`
	Value     any    `json:"value"`
	ValueType string `json:"valueType"`
}

// Party is a related party of a TMF635 usage.
type Party struct {
	ID           string `json:"id"`
	Role         string `json:"role"`
	ReferredType string `json:"@referredType"`
}

// TMFUsage is a TM Forum TMF635 (v4) Usage: one settled transfer.
type TMFUsage struct {
	ID             string           `json:"id"`
	Href           string           `json:"href"`
	UsageDate      time.Time        `json:"usageDate"`
	Description    string           `json:"description"`
	UsageType      string           `json:"usageType"`
	Status         string           `json:"status"`
	Characteristic []Characteristic `json:"usageCharacteristic"`
	RelatedParty   []Party          `json:"relatedParty"`
	Type           string           `json:"@type"`
}

// TMF635 turns settled transfers into TMF635 usages; others are left out.
func TMF635(transfers []northbound.Transfer) []TMFUsage {
	out := []TMFUsage{}
	for _, t := range transfers {
		r := t.Record
		if r == nil {
			continue
		}
		out = append(out, TMFUsage{
			ID: t.ID, Href: "/v1/receipts/" + t.ID, UsageDate: r.Ended, Description: "verified transfer of " + r.Name, UsageType: "data-transfer", Status: "guided", Type: "Usage",
			Characteristic: []Characteristic{
				{"bytes", r.Bytes, "integer"}, {"data", r.Data.String(), "string"}, {"root", r.Root, "string"}, {"reservation", r.Reservation.String(), "string"},
				{"started", r.Started, "dateTime"}, {"recordHash", r.Hash, "string"}, {"evidenceLeaf", r.Leaf, "integer"},
			},
			RelatedParty: []Party{{r.Payer, "customer", "Organization"}, {r.Owner, "provider", "Organization"}},
		})
	}
	return out
}

// CloudEvent is a CloudEvents 1.0 event in its JSON form.
type CloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            any       `json:"data"`
}

// CloudEvents turns settled transfers into events of type dssn.usage.settled,
// whose identifiers are their transfers', so that a repeated one is known.
func CloudEvents(transfers []northbound.Transfer, source string) []CloudEvent {
	out := []CloudEvent{}
	for _, t := range transfers {
		if t.Record != nil {
			out = append(out, CloudEvent{SpecVersion: "1.0", ID: t.ID, Source: source, Type: "dssn.usage.settled", Subject: t.Payer, Time: t.Record.Ended,
				DataContentType: "application/json", Data: t.Record})
		}
	}
	return out
}
