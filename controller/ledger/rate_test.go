package ledger_test

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/ledger"
)

// rational is the slow twin: rating in fractions of whole numbers.
func rational(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	return r
}

func TestABillIsExactAndRoundedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	tariff := ledger.Standard()
	for range 200 {
		var facts []ledger.Fact
		want := new(big.Rat)
		add := func(d ledger.Dimension, num *big.Int, den int64) {
			q := new(big.Rat).SetFrac(num, big.NewInt(den))
			want.Add(want, q.Mul(q, rational(t, tariff.Prices[d])))
		}
		for range random.IntN(20) {
			n := random.Uint64() >> random.IntN(60)
			switch random.IntN(4) {
			case 0:
				facts = append(facts, ledger.VerifiedBytes("t", n, "h"))
				add(ledger.DimensionVerified, new(big.Int).SetUint64(n), 1e9)
			case 1:
				facts = append(facts, ledger.BurstBytes("r", n, "h"))
				add(ledger.DimensionBurst, new(big.Int).SetUint64(n), 1e9)
			case 2:
				facts = append(facts, ledger.SetUp("r", "h"))
				add(ledger.DimensionSetUp, big.NewInt(1), 1)
			default:
				var b ledger.BitTime
				bps, d := dssn.Bandwidth(random.Uint64N(1e15)), time.Duration(random.Int64N(1e17))
				b.Add(bps, d)
				b.Add(bps, -d)
				facts = append(facts, ledger.ReservedBandwidth("r", b, "h"))
				v := new(big.Int).Mul(big.NewInt(int64(bps)), big.NewInt(int64(d)))
				add(ledger.DimensionReserved, v.Mul(v, big.NewInt(1)), 1e18)
			}
		}
		lines, total, err := ledger.Rate(tariff, facts)
		if err != nil {
			t.Fatal(err)
		}
		sum := new(big.Rat)
		for _, l := range lines {
			a := rational(t, l.Amount)
			if p := new(big.Rat).Mul(rational(t, l.Quantity), rational(t, l.Price)); p.Cmp(a) != 0 {
				t.Errorf("%s × %s is not %s", l.Quantity, l.Price, l.Amount)
			}
			sum.Add(sum, a)
		}
		if sum.Cmp(want) != 0 {
			t.Errorf("the lines come to %s, want %s", sum.FloatString(20), want.FloatString(20))
		}
		off := new(big.Rat).Sub(rational(t, total), want)
		if off.Abs(off).Cmp(big.NewRat(1, 200)) > 0 {
			t.Errorf("the total %s is more than half a cent from %s", total, want.FloatString(20))
		}
	}
}

func TestHalfACentGoesToTheEvenOne(t *testing.T) {
	tariff := ledger.Tariff{Version: "v", Currency: "CNY", Prices: map[ledger.Dimension]string{ledger.DimensionVerified: "0.01"}}
	for bytes, want := range map[uint64]string{500_000_000: "0.00", 1_500_000_000: "0.02", 2_500_000_000: "0.02", 2_500_000_001: "0.03"} {
		_, total, err := ledger.Rate(tariff, []ledger.Fact{ledger.VerifiedBytes("t", bytes, "h")})
		if err != nil || total != want {
			t.Errorf("%d bytes cost %s (%v), want %s", bytes, total, err, want)
		}
	}
}

func TestATariffIsReadWholeOrNotAtAll(t *testing.T) {
	for _, bad := range []string{
		``, `{}`, `{"version":"v","currency":"CNY","prices":{"gold":"1"}}`, `{"version":"v","currency":"CNY","prices":{"set-up":"-1"}}`,
		`{"version":"v","currency":"CNY","prices":{"set-up":"NaN"}}`, `{"version":"v","currency":"CNY","prices":{"set-up":"1e-30"}}`,
		`{"version":"v","currency":"CNY","price":{}}`, `{"version":"v","currency":"CNY","prices":{}} x`,
	} {
		if _, err := ledger.Read([]byte(bad)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if ledger.Standard().Hash() == (ledger.Tariff{}).Hash() {
		t.Error("two tariffs have one hash")
	}
}

func FuzzReadTariff(f *testing.F) {
	f.Add([]byte(`{"version":"v","currency":"CNY","prices":{"set-up":"1.5"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tariff, err := ledger.Read(b)
		if err != nil {
			return
		}
		facts := []ledger.Fact{ledger.SetUp("r", "h"), ledger.VerifiedBytes("t", 1<<63, "h")}
		if _, _, err := ledger.Rate(tariff, facts); err != nil {
			t.Errorf("a tariff that was read cannot rate: %v", err)
		}
	})
}
