package top

import (
	"image/color"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// grid is the columns that there is room for.
type grid struct {
	columns []int // indices
	short   bool  // headings
	gap     int
	widths  []int // of columns, each
}

// marker is before each row; the selected one's is visible.
const marker = 2

// fit chooses columns for a width: with air, else dense, else fewer.
func fit(all []column, rows []Subsystem, width int) grid {
	g := grid{gap: 2}
	for i := range all {
		g.columns = append(g.columns, i)
	}
	g.measure(all, rows)
	if g.width() <= width {
		return g
	}
	g.gap, g.short = 1, true
	g.measure(all, rows)
	for g.width() > width && len(g.columns) > 1 {
		last := 0
		for i, c := range g.columns {
			if i > 0 && (last == 0 || all[c].rank >= all[g.columns[last]].rank) {
				last = i
			}
		}
		g.columns = slices.Delete(g.columns, last, last+1)
		g.measure(all, rows)
	}
	return g
}

func (g *grid) measure(all []column, rows []Subsystem) {
	g.widths = g.widths[:0]
	for _, c := range g.columns {
		width := len(g.heading(all[c]))
		for _, s := range rows {
			width = max(width, lipgloss.Width(clean(all[c].cell(s))))
		}
		g.widths = append(g.widths, width)
	}
}

func (g *grid) heading(c column) string {
	if g.short && c.short != "" {
		return c.short
	}
	return c.head
}

func (g *grid) width() int {
	width := marker + g.gap*(len(g.widths)-1)
	for _, w := range g.widths {
		width += w
	}
	return width
}

// table is the heading and so many rows, the selected one among them.
func (m model) table(rows []Subsystem, shown int) []string {
	all := columns()
	g := fit(all, rows, m.width)
	var head strings.Builder
	head.WriteString(strings.Repeat(" ", marker))
	for i, c := range g.columns {
		style := faint()
		if c == m.sort {
			style = bold().Underline(true)
		}
		head.WriteString(g.cell(i, style.Render(g.heading(all[c]))))
	}
	lines := []string{head.String()}
	first := min(max(0, m.index(rows)-shown+1), len(rows)-shown)
	for i, s := range rows[first : first+shown] {
		lines = append(lines, m.row(all, g, s, first+i == m.index(rows)))
	}
	return lines
}

func (m model) row(all []column, g grid, s Subsystem, selected bool) string {
	line := strings.Repeat(" ", marker)
	if selected {
		line = lipgloss.NewStyle().Foreground(cyan).Render("▌") + strings.Repeat(" ", marker-1)
	}
	for i, c := range g.columns {
		text := clean(all[c].cell(s))
		style := lipgloss.NewStyle()
		switch {
		case m.lost != nil:
			style = faint() // it may not be so any more
		case all[c].style != nil:
			style = all[c].style(s)
		case text == "0" || text == "-" || text == "0%":
			style = faint()
		}
		line += g.cell(i, style.Bold(selected && c == 0).Render(text))
	}
	return line
}

// cell pads a styled text: names and states to the right, numbers to the left.
func (g *grid) cell(i int, text string) string {
	pad := strings.Repeat(" ", max(0, g.widths[i]-lipgloss.Width(text)))
	if g.columns[i] > 1 {
		text = pad + text
	} else {
		text += pad
	}
	if i == 0 {
		return text
	}
	return strings.Repeat(" ", g.gap) + text
}

// stateStyle colours a state by how bad it is.
func stateStyle(s Subsystem) lipgloss.Style {
	switch s.State {
	case "ready":
		return lipgloss.NewStyle().Foreground(green)
	case "starting", "draining":
		return lipgloss.NewStyle().Foreground(yellow)
	case "stopped":
		return faint()
	default:
		return lipgloss.NewStyle().Foreground(red).Bold(true)
	}
}

// alarming marks values that should be zero.
func alarming(value func(Subsystem) float64, color color.Color) func(Subsystem) lipgloss.Style {
	return func(s Subsystem) lipgloss.Style {
		if value(s) > 0 {
			return lipgloss.NewStyle().Foreground(color)
		}
		return faint()
	}
}

// flightStyle warns from nine tenths of the limit on.
func flightStyle(s Subsystem) lipgloss.Style {
	switch {
	case s.InFlight == 0:
		return faint()
	case s.Limit > 0 && uint64(s.InFlight)*10 >= uint64(s.Limit)*9:
		return lipgloss.NewStyle().Foreground(yellow).Bold(true)
	default:
		return lipgloss.NewStyle()
	}
}
