package ledger

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"dssn/controller/northbound"
)

// focusColumns are those of FOCUS 1.1 (FinOps Open Cost and Usage Specification):
// every mandatory one, the conditional ones that a bill can fill, and our own, which
// the specification wants to begin with x_. Columns of what DSSN does not have
// (regions, subaccounts, tags, commitment discounts) are left out, as it says.
var focusColumns = []string{
	"BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd",
	"CapacityReservationId", "CapacityReservationStatus", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
	"ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice",
	"EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit",
	"ProviderName", "PublisherName", "ResourceId", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory",
	"SkuId", "SkuMeter", "SkuPriceId", "x_BillNumber", "x_RecordHash", "x_TariffHash", "x_Class", "x_Grade", "x_LatencyClass", "x_PathClass", "x_Priority", "x_TimeBand",
}

// charge says what FOCUS calls a line of a dimension.
func charge(dim Dimension) (category, frequency, resource string) {
	switch dim {
	case DimensionSetUp:
		return "Purchase", "One-Time", "Reservation"
	case DimensionFlat:
		return "Purchase", "Recurring", "Institution"
	case DimensionMissed:
		return "Credit", "One-Time", "Reservation"
	case DimensionVerified:
		return "Usage", "Usage-Based", "Transfer"
	}
	return "Usage", "Usage-Based", "Reservation"
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
		category, frequency, resource := charge(Dimension(l.Dimension))
		row := map[string]string{
			"BilledCost": l.Amount, "EffectiveCost": l.Amount, "ListCost": l.Amount, "ContractedCost": l.Amount, "ListUnitPrice": l.Price, "ContractedUnitPrice": l.Price,
			"BillingAccountId": b.Institution, "BillingAccountName": b.Institution, "BillingCurrency": b.Currency,
			"BillingPeriodStart": from, "BillingPeriodEnd": to, "ChargePeriodStart": from, "ChargePeriodEnd": to,
			"ChargeCategory": category, "ChargeFrequency": frequency, "ChargeDescription": l.Dimension + " of " + l.Subject,
			"PricingQuantity": l.Quantity, "PricingUnit": l.Unit, "PricingCategory": "Standard",
			"ProviderName": provider, "PublisherName": provider, "InvoiceIssuerName": provider,
			"ResourceId": l.Subject, "ResourceType": resource, "ServiceCategory": "Networking", "ServiceSubcategory": "Network Connectivity",
			"ServiceName": "Data switching service network", "SkuId": l.Dimension, "SkuMeter": l.Dimension, "SkuPriceId": b.Tariff + "/" + l.Dimension + "/" + l.Price,
			"x_BillNumber": b.Number, "x_RecordHash": l.Record, "x_TariffHash": b.TariffHash,
			"x_Class": l.Terms.Class, "x_Grade": l.Terms.Grade, "x_LatencyClass": l.Terms.Latency, "x_PathClass": l.Terms.Distance, "x_TimeBand": l.Terms.Band,
		}
		if l.Terms.Priority != 0 {
			row["x_Priority"] = strconv.Itoa(l.Terms.Priority)
		}
		if category == "Usage" {
			row["ConsumedQuantity"], row["ConsumedUnit"] = l.Quantity, l.Unit
		}
		if Dimension(l.Dimension) == DimensionReserved {
			row["CapacityReservationId"], row["CapacityReservationStatus"] = l.Subject, l.Status
			if l.Status == statusUnused { // nothing was consumed
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
	Name         string `json:"name"`
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
				{"class", r.Class, "string"}, {"grade", r.Data.Grade().String(), "string"}, {"priority", r.Priority, "integer"}, {"pathLinks", r.Hops, "integer"},
				{"started", r.Started, "dateTime"}, {"recordHash", r.Hash, "string"}, {"evidenceLeaf", r.Leaf, "integer"},
			},
			RelatedParty: []Party{{r.Payer, r.Payer, "customer", "Organization"}, {r.Owner, r.Owner, "provider", "Organization"}},
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
