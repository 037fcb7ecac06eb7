package config

import "time"

// SLO are the objectives that a subsystem is measured by. No call is refused
// for them. Zero is no objective.
type SLO struct {
	Success  Percent       // share of calls that succeed; above 0% and below 100%
	P95      time.Duration // 95 of 100 calls take no longer
	InFlight int           // calls in flight at once stay below
}

// maxP95 is the last edge of the histogram of calls: beyond it all look the
// same.
const maxP95 = 30 * time.Second

func (s *SLO) table() table {
	return table{
		name: "slo",
		doc:  "Objectives to measure the subsystem by, shown beside what it does in the metrics. No call is refused for them.",
		arguments: []argument{
			{name: "success", doc: "Share of the calls that succeed.", target: percentAt{&s.Success, 1, allPercent - 1}},
			{name: "p95", doc: "How long 95 of 100 calls take at most.", target: durationAt{p: &s.P95, low: 100 * time.Microsecond, high: maxP95}},
			{name: "in_flight", doc: "Calls in flight at once.", target: intAt{&s.InFlight, 1, maxCalls}},
		},
	}
}
