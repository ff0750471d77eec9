package lab

import (
	"os"
	"strings"
	"testing"
)

// A real run's report, and what is wrong with it after a change of one word.
func TestReportLawsSeeEveryLie(t *testing.T) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadReport(text); err != nil {
		t.Fatalf("the report of a real run: %v", err)
	}
	for name, lie := range map[string]func(r *Report){
		"format":                    func(r *Report) { r.Format = "dssn-lab-run/2" },
		"a step is missing":         func(r *Report) { r.Steps = r.Steps[1:] },
		"a node did not join":       func(r *Report) { r.Join.Nodes-- },
		"a byte was lost":           func(r *Report) { r.Transfer.Bytes-- },
		"a byte was not compared":   func(r *Report) { r.Compared.Bytes-- },
		"the holder counts more":    func(r *Report) { r.Usage.Holder++ },
		"the receiver counts more":  func(r *Report) { r.Usage.Receiver++ },
		"another root":              func(r *Report) { r.Transfer.Root = strings.Repeat("0", 64) },
		"no refusal":                func(r *Report) { r.Refusal.Exit = 0 },
		"below committed":           func(r *Report) { r.Reservation.Allocated = r.Reservation.Committed - 1 },
		"above the ceiling":         func(r *Report) { r.Reservation.Allocated = r.Reservation.Ceiling + 1 },
		"usage of something else":   func(r *Report) { r.Usage.Reservation++ },
		"cut too early":             func(r *Report) { r.Cut.AtPercent = 10 },
		"never flowed again":        func(r *Report) { r.Cut.ToFlow = 0 },
		"cut beside the path":       func(r *Report) { r.Cut.Link = "shanghai-chengdu" },
		"no second path":            func(r *Report) { r.Paths = r.Paths[:1] },
		"no path":                   func(r *Report) { r.Paths = nil },
		"the new path has the link": func(r *Report) { r.Paths[1].Hops = r.Paths[0].Hops },
		"other links carried it":    func(r *Report) { r.Paths[0].Carried, r.Paths[1].Carried = 0, 0 },
		"back before it was killed": func(r *Report) { r.Kill.BackAtPercent = r.Kill.AtPercent },
		"a reservation was lost":    func(r *Report) { r.Kill.After-- },
		"no bill":                   func(r *Report) { r.Bill.Lines = nil },
		"the receipt is bad":        func(r *Report) { r.Receipt.Verified = false },
		"forgery passes":            func(r *Report) { r.Receipt.ForgedRefused = false },
	} {
		r, err := ReadReport(text)
		if err != nil {
			t.Fatal(err)
		}
		if lie(r); r.Check() == nil {
			t.Errorf("%s: not seen", name)
		}
	}
	for name, bad := range map[string]string{
		"an unknown field":   strings.Replace(string(text), `"seconds"`, `"secnods"`, 1),
		"something after it": string(text) + "{}",
		"half of it":         string(text[:len(text)/2]),
	} {
		if _, err := ReadReport([]byte(bad)); err == nil {
			t.Errorf("%s: read without complaint", name)
		}
	}
}
