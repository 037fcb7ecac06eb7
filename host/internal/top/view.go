package top

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// The colours are those of the terminal's own palette, which its user chose.
const (
	red    = lipgloss.Red
	green  = lipgloss.Green
	yellow = lipgloss.Yellow
	cyan   = lipgloss.Cyan
)

func bold() lipgloss.Style  { return lipgloss.NewStyle().Bold(true) }
func faint() lipgloss.Style { return lipgloss.NewStyle().Faint(true) }

// View draws the screen.
func (m model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "gaia top"
	return v
}

// minDetails is how many lines the details have before the table gets more.
const minDetails = 12

// screen is the lines of the screen, each as wide as it at most.
func (m model) screen() []string {
	lines := []string{m.headline(), m.noteline()}
	rows := m.rows()
	if room := m.height - len(lines) - 2; room > 0 { // the heading and the help
		shown := min(len(rows), room)
		if !m.closed {
			shown = min(len(rows), max(room-minDetails, room/2, min(3, room)))
		}
		lines = append(lines, m.table(rows, shown)...)
		left := room - shown
		clients := m.clientLines(left)
		lines, left = append(lines, clients...), left-len(clients)
		if left > 2 && !m.closed && len(rows) > 0 {
			lines = append(lines, m.detailLines(rows[m.index(rows)], left)...)
		}
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(m.height-1, 0)], m.help.View(m.keys))
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return lines
}

// headline says which host this is and how much it does.
func (m model) headline() string {
	r := m.reading
	if r == nil {
		return bold().Render("gaia top")
	}
	left := bold().Render("gaia "+clean(r.Version)) + faint().Render(fmt.Sprintf("  up %s  pid %d  %s", span(r.UptimeSeconds), r.PID, clean(r.Socket)))
	right := bold().Render(rate(r.CallsPerSecond)) + " calls/s"
	if r.Seconds == 0 {
		right = faint().Render("first reading…")
	}
	room := m.width - lipgloss.Width(right) - 1
	left = ansi.Truncate(left, max(room, 0), "…")
	if spark := m.width - lipgloss.Width(left) - lipgloss.Width(right) - 3; spark > 0 {
		right = lipgloss.NewStyle().Foreground(cyan).Render(sparkline(m.history[""], min(spark, 20))) + " " + right
	}
	return left + strings.Repeat(" ", max(1, m.width-lipgloss.Width(left)-lipgloss.Width(right))) + right
}

// noteline says what is unusual, or nothing.
func (m model) noteline() string {
	alarm := lipgloss.NewStyle().Foreground(red).Bold(true)
	switch {
	case m.lost != nil && m.reading == nil:
		return alarm.Render(clean(m.lost.Error()) + "; trying again")
	case m.lost != nil:
		return alarm.Render(fmt.Sprintf("%s since %s; trying again", clean(m.lost.Error()), m.lostAt.Format("15:04:05")))
	case m.reading == nil:
		return faint().Render("asking the host…")
	case m.paused:
		return lipgloss.NewStyle().Foreground(yellow).Render("paused at " + m.reading.Time.Format("15:04:05"))
	case m.note != "" && m.reading.Time.Before(m.noteEnd):
		return lipgloss.NewStyle().Foreground(green).Render(m.note)
	default:
		return faint().Render(fmt.Sprintf("every %v, sorted by %s", m.every.Round(time.Millisecond), columns()[m.sort].head))
	}
}

// sparkline draws values as bars, the last ones, each as high as its share of
// the largest.
func sparkline(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	largest := 0.0
	for _, v := range values {
		largest = max(largest, v)
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range values {
		i := 0
		if largest > 0 {
			i = int(v / largest * float64(len(bars)-1))
		}
		b.WriteRune(bars[i])
	}
	return b.String()
}

// clean keeps what could steer the terminal from it: texts come from plugins,
// and from whoever they talk to.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
