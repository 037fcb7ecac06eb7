package top

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// detailLines are at most so many about the selected subsystem.
func (m model) detailLines(s Subsystem, most int) []string {
	lines := []string{m.rule(s), aboutLine(s)}
	if s.Reason != "" {
		lines = append(lines, stateStyle(s).Render(clean(s.Reason)))
	}
	var d *Details
	if m.details != nil && m.details.subsystem == s.Name {
		d = m.details.details
	}
	sections := [][]string{m.methodLines(s), policyLines(s, d), eventLines(d)}
	var wants []int
	for _, section := range sections {
		wants = append(wants, len(section))
	}
	for i, n := range share(most-len(lines), wants) {
		lines = append(lines, sections[i][:n]...)
	}
	return lines[:min(len(lines), most)]
}

// maxClients is how many clients are shown: the busiest.
const maxClients = 5

// clientLines are the heading and the busiest clients, at most a third of so
// many lines; none without any.
func (m model) clientLines(room int) []string {
	if m.reading == nil || len(m.reading.Clients) == 0 {
		return nil
	}
	clients := m.reading.Clients
	width := len("CLIENT")
	for _, c := range clients {
		width = max(width, lipgloss.Width(clean(c.Name)))
	}
	lines := []string{faint().Render(fmt.Sprintf("  %-*s  CALLS/S  REJ/S  IN FLIGHT", width, "CLIENT"))}
	for _, c := range clients[:min(len(clients), maxClients)] {
		lines = append(lines, fmt.Sprintf("  %-*s  %7s  %5s  %9d", width, clean(c.Name), rate(c.CallsPerSecond), rate(c.RejectedPerSecond), c.InFlight))
	}
	if more := len(clients) - maxClients; more > 0 {
		lines[0] += faint().Render(fmt.Sprintf("  and %d more", more))
	}
	return lines[:min(len(lines), room/3)]
}

// share deals out lines one by one to who still wants one.
func share(lines int, wants []int) []int {
	dealt := make([]int, len(wants))
	for left := lines; left > 0; {
		before := left
		for i := range wants {
			if left > 0 && dealt[i] < wants[i] {
				dealt[i]++
				left--
			}
		}
		if left == before {
			break // all have what they want
		}
	}
	return dealt
}

// rule is a line with the name in it, and how busy the subsystem was lately.
func (m model) rule(s Subsystem) string {
	name := " " + clean(s.Name) + " "
	spark := sparkline(m.history[s.Name], max(0, min(historySize, m.width-lipgloss.Width(name)-6)))
	fill := max(0, m.width-lipgloss.Width(name)-lipgloss.Width(spark)-4)
	return faint().Render("──") + bold().Render(name) + faint().Render(strings.Repeat("─", fill)+" ") +
		lipgloss.NewStyle().Foreground(cyan).Render(spark)
}

func aboutLine(s Subsystem) string {
	about := []string{strings.TrimSpace(s.Plugin + " " + s.Version), fmt.Sprintf("generation %d", s.Generation)}
	if s.PID != 0 {
		about = append(about, fmt.Sprintf("pid %d", s.PID))
	}
	if s.ReadySeconds > 0 {
		about = append(about, "ready for "+span(s.ReadySeconds))
	}
	if s.Breaker != "" {
		about = append(about, "breaker "+s.Breaker)
	}
	if s.Confinement != "" {
		about = append(about, s.Confinement)
	}
	return faint().Render(clean(strings.Join(about, " · ")))
}

func (m model) methodLines(s Subsystem) []string {
	if len(s.Methods) == 0 {
		return []string{faint().Render("no calls in this time")}
	}
	width := len("METHOD")
	for _, method := range s.Methods {
		width = max(width, len(methodName(method.Name)))
	}
	lines := []string{faint().Render(fmt.Sprintf("%-*s  CALLS/S  FAIL/S     P95", width, "METHOD"))}
	for _, method := range s.Methods {
		lines = append(lines, fmt.Sprintf("%-*s  %7s  %6s  %6s", width, clean(methodName(method.Name)),
			rate(method.CallsPerSecond), rate(method.FailuresPerSecond), seconds(method.P95Seconds)))
	}
	return lines
}

// methodName is "Service/Method" without the package.
func methodName(full string) string {
	service, method, _ := strings.Cut(full, "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "/" + method
}

func policyLines(s Subsystem, d *Details) []string {
	if d == nil || d.Method == "" {
		return nil
	}
	lines := []string{faint().Render("POLICY  for " + clean(d.Method))}
	for _, p := range d.Policies {
		if p.GetExempt() != "" && len(p.GetSettings()) == 0 {
			continue
		}
		var settings []string
		for _, setting := range p.GetSettings() {
			settings = append(settings, setting.GetPath()+" = "+setting.GetValue())
		}
		line := fmt.Sprintf("%-10s  %s", clean(p.GetName()), clean(strings.Join(settings, ", ")))
		if p.GetState() != "" {
			line += faint().Render("  " + clean(p.GetState()))
		}
		if turned := s.Rejected[p.GetName()]; turned > 0 {
			line += lipgloss.NewStyle().Foreground(red).Render("  " + rate(turned) + " rejected/s")
		}
		lines = append(lines, line)
	}
	return lines
}

// eventLines are the newest first: they are what is cut last.
func eventLines(d *Details) []string {
	if d == nil || len(d.Events) == 0 {
		return nil
	}
	lines := []string{faint().Render("EVENT")}
	for i := range d.Events {
		lines = append(lines, eventLine(d.Events[len(d.Events)-1-i]))
	}
	return lines
}

func eventLine(e *hostv1.EventsResponse) string {
	line := faint().Render(e.GetTime().AsTime().Local().Format("15:04:05")) + fmt.Sprintf(" %d %s", e.GetGeneration(), clean(e.GetKind()))
	if e.GetReason() != "" {
		line += ": " + clean(e.GetReason())
	}
	return line
}
