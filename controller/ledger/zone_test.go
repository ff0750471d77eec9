package ledger_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"dssn"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

// berlin rates by day and night in a zone that has daylight saving time.
const berlin = `{"version":"b","currency":"EUR","zone":"Europe/Berlin","prices":{"reserved-bandwidth":"1","verified-bytes":"1"},
"bands":[{"name":"night","from":"22:00","to":"06:00"},{"name":"market","from":"09:30","to":"16:00","days":["mon","tue","wed","thu","fri"]}],
"factors":[{"when":{"band":"night"},"factor":"0.5"}]}`

func offsets(t *testing.T, tariff ledger.Tariff, from, to time.Time) []northbound.ZoneOffset {
	t.Helper()
	zone, err := ledger.Offsets(tariff.Zone, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// quantities adds a bill's quantities of a dimension up by band.
func quantities(t *testing.T, b northbound.Bill, dim ledger.Dimension) map[string]*big.Rat {
	t.Helper()
	out := map[string]*big.Rat{}
	for _, l := range b.Lines {
		if l.Dimension == string(dim) {
			if out[l.Terms.Band] == nil {
				out[l.Terms.Band] = new(big.Rat)
			}
			out[l.Terms.Band].Add(out[l.Terms.Band], rational(t, l.Quantity))
		}
	}
	return out
}

// Nights are eight hours but for the two nights a year that are seven and nine.
func TestANightIsAsLongAsItWas(t *testing.T) {
	tariff, err := ledger.Read([]byte(berlin))
	if err != nil {
		t.Fatal(err)
	}
	location, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for day, night := range map[string]int64{"2026-03-28": 7, "2026-10-24": 9, "2026-06-01": 8, "2026-12-31": 8} {
		noon, err := time.ParseInLocation(time.DateTime, day+" 12:00:00", location)
		if err != nil {
			t.Fatal(err)
		}
		from, to := noon.UTC(), noon.AddDate(0, 0, 1).UTC()
		b, err := ledger.Bill(tariff, offsets(t, tariff, from, to), from, to, contract(dssn.Gbps, from, to))
		if err != nil {
			t.Fatal(err)
		}
		got := quantities(t, b, ledger.DimensionReserved)
		if got["night"] == nil || got["night"].Cmp(big.NewRat(night*3600, 1)) != 0 {
			t.Errorf("the night after %s has %v Gbit/s·s, want %d hours", day, got["night"], night)
		}
		sum := new(big.Rat)
		for _, v := range got {
			sum.Add(sum, v)
		}
		if want := int64(to.Sub(from) / time.Second); sum.Cmp(big.NewRat(want, 1)) != 0 {
			t.Errorf("%s has %s Gbit/s·s in all its bands, want %d", day, sum.FloatString(3), want)
		}
	}
}

// contract is a record of one rate over one time, of which nothing was used.
func contract(rate dssn.Bandwidth, from, to time.Time) northbound.BillRecords {
	return northbound.BillRecords{Period: northbound.PeriodRecord{Institution: "south", From: from, To: to}, Contracts: []northbound.ContractRecord{{Reservation: 1, Institution: "south",
		Class: dssn.ClassElastic, Priority: 10, Activated: from, Ended: to, Segments: []northbound.ContractSegment{{Committed: rate, From: from, To: to, Hops: 3, Latency: time.Millisecond}}}}}
}

// The slow twin looks at every quarter of an hour by the local clock.
func TestBandsAreThoseOfTheLocalClock(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"} {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			clock := func() string { return fmt.Sprintf("%02d:%02d", random.IntN(24), 15*random.IntN(4)) }
			a, b, c, d := clock(), clock(), clock(), clock()
			if a == b || c == d {
				continue
			}
			day := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}[random.IntN(7)]
			tariff, err := ledger.Read(fmt.Appendf(nil, `{"version":"v","currency":"EUR","zone":%q,"prices":{},"bands":[{"name":"one","from":%q,"to":%q,"days":[%q]},{"name":"two","from":%q,"to":%q}]}`, name, a, b, day, c, d))
			if err != nil {
				t.Fatal(err)
			}
			from := time.Date(2026, time.Month(1+random.IntN(12)), 1+random.IntN(28), 0, 15*random.IntN(4), 0, 0, time.UTC)
			to := from.Add(time.Duration(random.IntN(200)+1) * time.Hour)
			want := map[string]int64{}
			for at := from; at.Before(to); at = at.Add(15 * time.Minute) {
				band := ""
				if local := at.In(location); slowBand(local, c, d, "") {
					band = "two"
				}
				if slowBand(at.In(location), a, b, day) {
					band = "one"
				}
				want[band] += 900
			}
			bill, err := ledger.Bill(tariff, offsets(t, tariff, from, to), from, to, contract(dssn.Gbps, from, to))
			if err != nil {
				t.Fatal(err)
			}
			got := quantities(t, bill, ledger.DimensionReserved)
			for band, n := range want {
				if got[band] == nil || got[band].Cmp(big.NewRat(n, 1)) != 0 {
					t.Errorf("%s, %s–%s on %s, %s–%s, from %s to %s: band %q has %v, want %d", name, a, b, day, c, d, from, to, band, got[band], n)
				}
			}
		}
	}
}

func slowBand(local time.Time, from, to, day string) bool {
	now := local.Format("15:04")
	today, yesterday := local.Format("Mon"), time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, time.UTC).Format("Mon")
	on := func(d string) bool { return day == "" || day == string(d[0]|0x20)+d[1:] }
	if from < to {
		return now >= from && now < to && on(today)
	}
	return now >= from && on(today) || now < to && on(yesterday)
}

// Whatever a tariff and a record say, both ends' arithmetic is the same and the
// shares of a time add up to it.
func TestPeriodsThatFollowEachOtherAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	text, _ := ledger.Example("national")
	tariff, err := ledger.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for range 40 {
		end := begin.Add(time.Duration(random.IntN(300)+10) * time.Minute)
		all := contract(dssn.Bandwidth(random.Uint64N(1e9)), begin, end)
		r := &all.Contracts[0]
		var received uint64
		for at := begin; at.Before(end); {
			next := at.Add(time.Duration(random.IntN(20)+1) * time.Minute)
			if next.After(end) {
				next = end
			}
			n := random.Uint64N(5e9)
			received += n
			r.Intervals = append(r.Intervals, northbound.UsageInterval{Reservation: 1, From: at, To: next, Received: n, Sent: n, Agreed: next})
			at = next
		}
		rate := func(from, to time.Time) (used, unused, burst *big.Rat) {
			all.Period.From, all.Period.To = from, to
			b, err := ledger.Bill(tariff, offsets(t, tariff, from, to), from, to, all)
			if err != nil {
				t.Fatal(err)
			}
			used, unused, burst = new(big.Rat), new(big.Rat), new(big.Rat)
			for _, l := range b.Lines {
				switch {
				case l.Dimension == "burst-bytes":
					burst.Add(burst, rational(t, l.Quantity))
				case l.Status == "Used":
					used.Add(used, rational(t, l.Quantity))
				case l.Status == "Unused":
					unused.Add(unused, rational(t, l.Quantity))
				}
			}
			return used, unused, burst
		}
		u, n, burst := rate(begin, end.Add(time.Second))
		// Used and burst are what arrived: to the byte for each interval, of which the
		// part of a burst that fills half a byte is given to who pays.
		gb := new(big.Rat).Add(burst, new(big.Rat).Quo(u, big.NewRat(8, 1)))
		short := new(big.Rat).Sub(new(big.Rat).SetFrac(new(big.Int).SetUint64(received), big.NewInt(1e9)), gb)
		if short.Sign() < 0 || short.Cmp(big.NewRat(int64(2*len(r.Intervals)), 1e9)) > 0 {
			t.Errorf("%d bytes arrived, %s GB are used or burst", received, gb.FloatString(9))
		}
		whole := new(big.Rat).Add(u, n)
		if want := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(int64(r.Segments[0].Committed)), big.NewInt(int64(end.Sub(begin)/time.Second))), big.NewInt(1e9)); whole.Cmp(want) != 0 {
			t.Errorf("%s Gbit/s·s are used or unused, want %s", whole.FloatString(9), want.FloatString(9))
		}
		cut := begin.Add(time.Duration(random.Int64N(int64(end.Sub(begin)))))
		u1, n1, b1 := rate(begin, cut)
		u2, n2, b2 := rate(cut, end.Add(time.Second))
		sum := new(big.Rat).Add(new(big.Rat).Add(u1, n1), new(big.Rat).Add(u2, n2))
		if sum.Cmp(whole) != 0 {
			t.Errorf("cut at %s the reserved time is %s, whole it is %s", cut, sum.FloatString(9), whole.FloatString(9))
		}
		off := new(big.Rat).Sub(new(big.Rat).Add(b1, b2), burst)
		if off.Abs(off).Cmp(big.NewRat(2, 1e9)) > 0 {
			t.Errorf("cut at %s the burst is %s and %s, whole it is %s", cut, b1.FloatString(9), b2.FloatString(9), burst.FloatString(9))
		}
	}
}

func TestTheExamplesRateAsTheySay(t *testing.T) {
	from := time.Date(2026, 10, 31, 20, 30, 0, 0, time.UTC) // 04:30 on 1 November in Shanghai
	to := from.Add(4 * time.Hour)
	r := contract(2*dssn.Gbps, from.Add(15*time.Minute), to.Add(-time.Hour))
	r.Period.Created = from.AddDate(0, -3, 0)
	c := &r.Contracts[0]
	for i := range 33 { // of 33 samples one is forgiven: the second highest is the 95th percentile
		at := c.Activated.Add(time.Duration(i) * 5 * time.Minute)
		c.Intervals = append(c.Intervals, northbound.UsageInterval{Reservation: 1, From: at, To: at.Add(5 * time.Minute), Received: uint64(i+1) * 375_000_000, Agreed: at.Add(5 * time.Minute)})
	}
	rec := northbound.UsageRecord{Transfer: "t", Payer: "south", Bytes: 5e9, Ended: from.Add(time.Hour)}
	rec.Hash = ledger.RecordHash(&rec)
	r.Transfers = append(r.Transfers, rec)
	for name, want := range map[string]string{
		"per-gb":        "0.15",   // 5 GB
		"reserved-hour": "80.20",  // 2G in each of four hours begun, three of them at night, and the set-up
		"percentile-95": "288.00", // 32 × 10 Mbit/s
		"flat":          "0.00",   // no month begins: 1 November was at 16:00 UTC
		"national":      "0",      // below
		"standard":      "0",
	} {
		text, ok := ledger.Example(name)
		if !ok {
			t.Fatalf("no tariff is called %s", name)
		}
		tariff, err := ledger.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ledger.Bill(tariff, offsets(t, tariff, from, to), from, to, r)
		if err != nil {
			t.Fatal(err)
		}
		if name == "national" || name == "standard" {
			sum := new(big.Rat)
			for _, l := range b.Lines {
				sum.Add(sum, new(big.Rat).Mul(rational(t, l.Quantity), rational(t, l.Price)))
			}
			want = sum.FloatString(2)
		}
		if b.Total != want {
			text, _ := json.MarshalIndent(b.Lines, "", " ")
			t.Errorf("%s comes to %s, want %s: %s", name, b.Total, want, text)
		}
	}
	if names := ledger.Examples(); len(names) != 6 {
		t.Errorf("the examples are %v", names)
	}
}

func TestAFlatFeeIsPaidOnceAMonth(t *testing.T) {
	text, _ := ledger.Example("flat")
	tariff, err := ledger.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(7, 8))
	months := new(big.Rat)
	end := time.Date(2027, 3, 10, 0, 0, 0, 0, time.UTC)
	for at := created; at.Before(end); {
		next := at.Add(time.Duration(random.Int64N(int64(60*24*time.Hour))) + 1)
		if next.After(end) {
			next = end
		}
		b, err := ledger.Bill(tariff, offsets(t, tariff, at, next), at, next, northbound.BillRecords{Period: northbound.PeriodRecord{Kind: "period", Institution: "south", Created: created, From: at, To: next}})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range b.Lines {
			if l.Record == "" {
				t.Errorf("a fee cites no record: %+v", l)
			}
			months.Add(months, rational(t, l.Quantity))
		}
		at = next
	}
	if months.Cmp(big.NewRat(15, 1)) != 0 { // January 2026 to March 2027
		t.Errorf("%s months were paid, want 15", months.FloatString(2))
	}
}

func TestADeadlineIsKeptOrCredited(t *testing.T) {
	text, _ := ledger.Example("national")
	tariff, err := ledger.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 11, 2, 2, 0, 0, 0, time.UTC)
	to := from.Add(time.Hour)
	for kept, want := range map[bool]string{true: "1", false: "-10"} {
		r := contract(0, from, to)
		c := &r.Contracts[0]
		c.Class, c.Volume, c.Deadline, c.Judged, c.Kept = dssn.ClassBulk, 1e12, to, from.Add(time.Minute), kept
		b, err := ledger.Bill(tariff, offsets(t, tariff, from, to), from, to, r)
		if err != nil {
			t.Fatal(err)
		}
		amount := ""
		for _, l := range b.Lines {
			if l.Dimension == "deadline-kept" || l.Dimension == "deadline-missed" {
				amount += l.Amount
			}
		}
		if amount != want {
			t.Errorf("a deadline kept (%v) costs %s, want %s", kept, amount, want)
		}
	}
}
