package controller_test

import (
	"regexp"
	"slices"
	"strings"
)

// A reader of Gherkin, as far as CAMARA's test definitions use it: Feature,
// Background, Scenario, Scenario Outline with one table of Examples, tags, steps.

// gherkin is one scenario, its outline's parameters put in.
type gherkin struct {
	name  string // its tag and, of an outline, the row
	title string
	steps []string // Background's first, without Given, When, Then, And, But
}

var (
	gherkinStep  = regexp.MustCompile(`^(?:Given|When|Then|And|But) +(.*)$`)
	gherkinParam = regexp.MustCompile(`<([a-z_]+)>`)
)

func readGherkin(text string) (out []gherkin) {
	var background, head []string
	var now *gherkin // the scenario being read; nil in Background
	var outline bool
	tag := ""
	flush := func() {
		if now != nil && !outline {
			out = append(out, *now)
		}
		now, head = nil, nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "@"):
			tag = line[1:]
		case strings.HasPrefix(line, "Scenario"):
			flush()
			_, title, _ := strings.Cut(line, ": ")
			outline = strings.HasPrefix(line, "Scenario Outline:")
			now = &gherkin{tag, title, slices.Clone(background)}
		case strings.HasPrefix(line, "|"):
			var cells []string
			for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.TrimSpace(c))
			}
			if head == nil {
				head = cells
				continue
			}
			row := gherkin{now.name + "/" + cells[0], now.title, nil}
			for _, s := range now.steps {
				row.steps = append(row.steps, gherkinParam.ReplaceAllStringFunc(s, func(p string) string {
					if i := slices.Index(head, p[1:len(p)-1]); i >= 0 && i < len(cells) {
						return cells[i]
					}
					return p
				}))
			}
			out = append(out, row)
		default:
			m := gherkinStep.FindStringSubmatch(line)
			switch {
			case m == nil:
			case now == nil:
				background = append(background, m[1])
			default:
				now.steps = append(now.steps, m[1])
			}
		}
	}
	flush()
	return out
}
