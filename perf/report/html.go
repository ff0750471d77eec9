package report

import (
	_ "embed"
	"html/template"
	"io"
)

// The page is one file with all it needs: style, drawings, and the JSON of the
// result itself, so that a page that was sent around can be compared later.

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

type page struct {
	Title, Sub, Foot string
	Verdict          *Verdict
	Distrust         []distrust
	Sections         []section
	JSON             any
}

type distrust struct {
	Head string
	List []string
}

type section struct {
	Title, Note, Pre string
	Charts           []drawing
	Tables           []grid
}

type drawing struct {
	Title string
	Keys  []string // names of the lines, where there are several
	SVG   template.HTML
}

type grid struct {
	Title string
	Head  []cell
	Rows  [][]cell
}

type cell struct {
	Text   string
	Number bool   // stands to the right
	Class  string // good or bad
}

func text(s string) cell   { return cell{Text: s} }
func number(s string) cell { return cell{Text: s, Number: true} }

func (g *grid) head(names ...string) {
	for i, n := range names {
		g.Head = append(g.Head, cell{Text: n, Number: i > 0})
	}
}

func (g *grid) row(cells ...cell) { g.Rows = append(g.Rows, cells) }

func draw(c chart) (d drawing, ok bool) {
	svg := c.svg()
	if svg == "" {
		return d, false
	}
	d = drawing{Title: c.title, SVG: template.HTML(svg)}
	if len(c.lines) > 1 {
		for _, l := range c.lines {
			d.Keys = append(d.Keys, l.name)
		}
	}
	return d, true
}

func (s *section) chart(c chart) {
	if d, ok := draw(c); ok {
		s.Charts = append(s.Charts, d)
	}
}

// HTML writes the result as one self-contained page.
func HTML(w io.Writer, r *Result) error {
	p := page{Title: r.Title, Verdict: r.Verdict, JSON: r,
		Foot: "Written by dssn from a " + Format + " result, which this page contains."}
	if p.Title == "" {
		p.Title = r.Kind
	}
	p.Sub = r.At.Format("2006-01-02 15:04:05 UTC") + ", " + r.Kind
	if r.Seconds > 0 {
		p.Sub += ", took " + Seconds.Show(r.Seconds)
	}
	if reasons := r.Distrust(); len(reasons) > 0 {
		p.Distrust = append(p.Distrust, distrust{"This result cannot be trusted as it stands:", reasons})
	}
	for _, s := range []func(*Result) section{figures, overTime, latencies, curves, tables, limits, settings, machines, signatures, command} {
		if s := s(r); len(s.Charts)+len(s.Tables)+len(s.Pre) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return pageTemplate.Execute(w, p)
}
