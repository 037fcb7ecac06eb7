package telemetry

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// NamedObjectives are the objectives of one subsystem.
type NamedObjectives struct {
	Subsystem  string
	Objectives Objectives
}

// Rules returns a rule file for Prometheus (tried with 2.42): for each objective
// the recording rules of its burn rates, and its alerts. There is a group for
// each subsystem with objectives, in the order given.
//
// Nothing is summed up over hosts: a rule keeps the instance and job that
// Prometheus adds, so that an alert says which host it is about.
func Rules(subsystems []NamedObjectives) []byte {
	var r ruleFile
	r.line(0, "# Rules of the service level objectives of gaia's subsystems, for Prometheus.")
	r.line(0, "# Printed by `gaia slo rules` from the slo blocks of the configuration: change")
	r.line(0, "# those and print it again. docs/how-to/scrape-and-alert.md says what to do with it.")
	groups := r.text.Len()
	for _, s := range subsystems {
		if s.Objectives == (Objectives{}) {
			continue
		}
		if r.text.Len() == groups {
			r.line(0, "groups:")
		}
		r.group(s)
	}
	if r.text.Len() == groups {
		r.line(0, "groups: [] # no subsystem has an slo block")
	}
	return r.text.Bytes()
}

// ruleFile is YAML that is being written. Texts go through %q: what Go escapes
// in printable text, YAML does alike.
type ruleFile struct{ text bytes.Buffer }

// line writes a line, indented by a number of steps.
func (r *ruleFile) line(depth int, format string, args ...any) {
	fmt.Fprintf(&r.text, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (r *ruleFile) group(s NamedObjectives) {
	r.line(1, "- name: %q", "gaia-slo-"+s.Subsystem)
	r.line(2, "rules:")
	o := s.Objectives
	if o.Success > 0 {
		r.failing(s)
	}
	if o.P95 > 0 {
		r.slow(s)
	}
	if o.InFlight > 0 {
		r.crowded(s)
	}
}

// failing writes the rules of the objective "success".
func (r *ruleFile) failing(s NamedObjectives) {
	r.line(3, "# success: %s of the calls do not fail. Those fail that end with one of", percent(s.Objectives.Success))
	r.line(3, "# %s.", strings.Join(failureNames(), ", "))
	selector := fmt.Sprintf("subsystem=%q", s.Subsystem)
	failures := fmt.Sprintf("%s,code=~%q", selector, strings.Join(failureNames(), "|"))
	b := budget{
		subsystem: s.Subsystem,
		slo:       sloSuccess,
		share:     1 - s.Objectives.Success,
		record:    "instance_subsystem:gaia_call_failures:ratio_rate",
		alert:     "GaiaCallsFail",
		summary:   fmt.Sprintf("{{ $value | humanizePercentage }} of the calls to %s fail, objective %s", s.Subsystem, percent(1-s.Objectives.Success)),
		look: fmt.Sprintf("Which, and how: sum by (method, code) (rate(gaia_calls_total{%s}[5m])). ", inText(failures)) +
			"Whether an instance runs, and why not: `gaia status`. What the gate lets pass: `gaia policy explain METHOD`.",
	}
	r.ratios(b, func(window string) string {
		return fmt.Sprintf("sum without (method, code) (rate(gaia_calls_total{%s}[%s]))\n/\n"+
			"(sum without (method, code) (rate(gaia_calls_total{%s}[%s])) > 0)", failures, window, selector, window)
	})
	r.burns(b)
}

// slow writes the rules of the objective "p95".
func (r *ruleFile) slow(s NamedObjectives) {
	edge, ok := edgeFor(s.Objectives.P95)
	if !ok {
		r.line(3, "# p95: no rules. %v is beyond %v, the last bucket of gaia_call_seconds, where", s.Objectives.P95, edge)
		r.line(3, "# all calls look the same.")
		return
	}
	r.line(3, "# p95: 95%% of the unary calls take %v at most.", s.Objectives.P95)
	if edge != s.Objectives.P95 {
		r.line(3, "# These rules count the calls that take more than %v: the histogram tells", edge)
		r.line(3, "# exactly only for the edges of its buckets, and this is the next one.")
	}
	selector := fmt.Sprintf("subsystem=%q", s.Subsystem)
	b := budget{
		subsystem: s.Subsystem,
		slo:       sloP95,
		share:     1 - latencyShare,
		record:    "instance_subsystem:gaia_calls_slow:ratio_rate",
		alert:     "GaiaCallsSlow",
		summary: fmt.Sprintf("{{ $value | humanizePercentage }} of the calls to %s take more than %v, objective %s",
			s.Subsystem, edge, percent(1-latencyShare)),
		look: fmt.Sprintf("Which: histogram_quantile(0.95, sum by (method, le) (rate(gaia_call_seconds_bucket{%s}[5m]))). ", inText(selector)) +
			"Whether they wait, for a place or for an instance: gaia_calls_queued, gaia_held_total, `gaia status`. Their limits: `gaia policy explain METHOD`.",
	}
	r.ratios(b, func(window string) string {
		return fmt.Sprintf("1 - sum without (method, le) (rate(gaia_call_seconds_bucket{%s,%s}[%s]))\n/\n"+
			"(sum without (method) (rate(gaia_call_seconds_count{%s}[%s])) > 0)", selector, leMatcher(edge), window, selector, window)
	})
	r.burns(b)
}

// crowded writes the rule of the objective "in_flight".
func (r *ruleFile) crowded(s NamedObjectives) {
	r.line(3, "# in_flight: at most %d calls at once.", s.Objectives.InFlight)
	r.alert(alert{
		name: "GaiaCallsInFlight", subsystem: s.Subsystem, slo: sloInFlight, severity: severityTicket, wait: crowdedFor,
		expr:        fmt.Sprintf("gaia_calls_in_flight{subsystem=%q} > %d", s.Subsystem, s.Objectives.InFlight),
		summary:     fmt.Sprintf("{{ $value }} calls to %s are in flight, objective %d", s.Subsystem, s.Objectives.InFlight),
		description: "Whether there are more calls or slower ones: gaia_calls_total, gaia_call_seconds. What bounds them: `gaia status`, `gaia policy explain METHOD`.",
	})
}

// budget is a share of the calls that may be bad.
type budget struct {
	subsystem, slo string
	share          float64
	record         string // what to call the ratio of bad calls, without its window
	alert          string
	summary, look  string
}

// ratios writes a recording rule per window. Where no calls ended there must be
// no ratio: NaN is neither good nor bad, and lasts in graphs.
func (r *ruleFile) ratios(b budget, expr func(window string) string) {
	for _, w := range burnWindows() {
		r.line(3, "- record: %s%s", b.record, promDuration(w))
		r.block("expr", expr(promDuration(w)))
		r.line(4, "labels:")
		r.line(5, "subsystem: %q", b.subsystem) // as it is anyway; tells rules of the same name apart
	}
}

// burns writes an alert per severity, so that one burn is reported once.
func (r *ruleFile) burns(b budget) {
	for _, severity := range []string{severityPage, severityTicket} {
		var conditions []string
		for _, rate := range burnRates() {
			if rate.severity != severity {
				continue
			}
			above := func(window time.Duration) string {
				return fmt.Sprintf("%s%s{subsystem=%q} > %s", b.record, promDuration(window), b.subsystem, threshold(rate.factor, b.share))
			}
			conditions = append(conditions, fmt.Sprintf("(\n  %s\n  and\n  %s\n)", above(rate.long), above(rate.short)))
		}
		r.alert(alert{
			name: b.alert, subsystem: b.subsystem, slo: b.slo, severity: severity,
			expr: strings.Join(conditions, "\nor\n"), summary: b.summary, description: b.look,
		})
	}
}

// threshold writes the share of bad calls that factor times the budget is. More
// than all calls cannot be bad: of a large budget it is nearly all of them, or
// else the alert would sleep through a total outage.
func threshold(factor, share float64) string {
	const nearlyAll = .99
	if factor*share > nearlyAll {
		return number(nearlyAll)
	}
	return fmt.Sprintf("(%s * %s)", number(factor), number(share))
}

// alert is one alerting rule.
type alert struct {
	name, expr, wait         string // wait may be ""
	subsystem, slo, severity string
	summary, description     string
}

func (r *ruleFile) alert(a alert) {
	r.line(3, "- alert: %s", a.name)
	r.block("expr", a.expr)
	if a.wait != "" {
		r.line(4, "for: %s", a.wait)
	}
	r.line(4, "labels:")
	r.line(5, "severity: %s", a.severity)
	r.line(5, "slo: %s", a.slo)
	r.line(5, "subsystem: %q", a.subsystem)
	r.line(4, "annotations:")
	r.line(5, "summary: %q", a.summary)
	r.line(5, "description: %q", a.description)
}

// block writes a text of one or several lines.
func (r *ruleFile) block(key, text string) {
	r.line(4, "%s: |-", key)
	for line := range strings.SplitSeq(text, "\n") {
		r.line(5, "%s", line)
	}
}

// edgeFor is the smallest edge of gaia_call_seconds that is not below d, or the
// last one and false.
func edgeFor(d time.Duration) (time.Duration, bool) {
	for _, edge := range callEdges() {
		if edge >= d {
			return edge, true
		}
	}
	return MaxP95, false
}

// leMatcher selects the bucket of an edge. Prometheus 3 stores le="1" as "1.0".
func leMatcher(edge time.Duration) string {
	le := number(edge.Seconds())
	if strings.Contains(le, ".") {
		return fmt.Sprintf("le=%q", le)
	}
	return fmt.Sprintf("le=~%q", le+"([.]0)?")
}

// inText is a selector for a text within quotes; PromQL takes either kind.
func inText(selector string) string { return strings.ReplaceAll(selector, `"`, "'") }

// failureNames are the failureCodes as the label "code" has them.
func failureNames() []string {
	var all []string
	for _, code := range failureCodes() {
		all = append(all, code.String())
	}
	return all
}

func percent(share float64) string { return number(100*share) + "%" }

// number writes x without exponent, and without what binary fractions add to
// decimal ones: 1-0.99 is 0.01.
func number(x float64) string {
	const digits = 1e9
	return strconv.FormatFloat(cmp.Or(math.Round(x*digits)/digits, 0), 'f', -1, 64)
}
