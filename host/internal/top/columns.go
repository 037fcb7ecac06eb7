package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
)

// column is one of the table.
type column struct {
	head  string
	short string // where there is little room; "" is head
	cell  func(Subsystem) string
	less  func(a, b Subsystem) int       // nil: by the name; else the largest is first
	rank  int                            // the columns of the highest rank go first where there is no room
	style func(Subsystem) lipgloss.Style // nil: plain, and zeros are faint
}

// columnOfCalls is what the screen is sorted by at first.
const columnOfCalls = 2

// columns are those of the table, in their order.
func columns() []column {
	return []column{
		{head: "SUBSYSTEM", cell: func(s Subsystem) string { return s.Name }},
		{head: "STATE", cell: func(s Subsystem) string { return s.State }, less: by(func(s Subsystem) string { return s.State }), style: stateStyle},
		{head: "CALLS/S", cell: func(s Subsystem) string { return rate(s.CallsPerSecond) }, less: by(callRate)},
		{head: "FAIL/S", cell: func(s Subsystem) string { return rate(s.FailuresPerSecond) }, less: by(failRate), rank: 4, style: alarming(failRate, red)},
		{head: "P95", cell: func(s Subsystem) string { return seconds(s.P95Seconds) }, less: by(func(s Subsystem) float64 { return known(s.P95Seconds) })},
		{head: "IN FLIGHT", short: "FLIGHT", cell: inFlight, less: by(func(s Subsystem) uint32 { return s.InFlight }), rank: 1, style: flightStyle},
		{head: "QUEUED", short: "QUEUE", cell: func(s Subsystem) string { return strconv.Itoa(int(s.Queued)) }, less: by(queued), rank: 3, style: alarming(queued, yellow)},
		{head: "REJ/S", cell: func(s Subsystem) string { return rate(s.RejectedPerSecond) }, less: by(rejectRate), rank: 2, style: alarming(rejectRate, red)},
		{head: "RESTARTS", short: "RST", cell: func(s Subsystem) string { return strconv.FormatUint(s.Restarts, 10) }, less: by(restarts), rank: 3, style: alarming(restarts, yellow)},
		{head: "MEMORY", cell: func(s Subsystem) string { return size(s.MemoryBytes) }, less: by(func(s Subsystem) uint64 { return known(s.MemoryBytes) }), rank: 1},
		{head: "CPU", cell: func(s Subsystem) string { return cores(s.CPU) }, less: by(func(s Subsystem) float64 { return known(s.CPU) }), rank: 2},
		{head: "FILES", cell: files, less: by(func(s Subsystem) uint64 { return known(s.OpenFiles) }), rank: 5},
	}
}

func callRate(s Subsystem) float64   { return s.CallsPerSecond }
func failRate(s Subsystem) float64   { return s.FailuresPerSecond }
func rejectRate(s Subsystem) float64 { return s.RejectedPerSecond }
func queued(s Subsystem) float64     { return float64(s.Queued) }
func restarts(s Subsystem) float64   { return float64(s.Restarts) }

func by[V cmp.Ordered](value func(Subsystem) V) func(a, b Subsystem) int {
	return func(a, b Subsystem) int { return cmp.Compare(value(b), value(a)) }
}

// known sorts what is not known among the zeros.
func known[V uint64 | float64](v *V) V {
	if v == nil {
		return 0
	}
	return *v
}

func inFlight(s Subsystem) string {
	if s.Limit == 0 {
		return strconv.Itoa(int(s.InFlight))
	}
	return strconv.Itoa(int(s.InFlight)) + "/" + strconv.Itoa(int(s.Limit))
}

func files(s Subsystem) string {
	if s.OpenFiles == nil {
		return "-"
	}
	return strconv.FormatUint(*s.OpenFiles, 10)
}

// Rows is the reading as a table, heading first, for `gaia top --once`.
func (r *Reading) Rows() [][]string {
	all := columns()
	rows := make([][]string, 1+len(r.Subsystems))
	for _, c := range all {
		rows[0] = append(rows[0], c.head)
		for i, s := range r.Subsystems {
			rows[i+1] = append(rows[i+1], c.cell(s))
		}
	}
	return rows
}

// sorted orders rows by a column, the largest value first unless reversed; of
// equals and in the column of names, by name.
func sorted(rows []Subsystem, c column, reversed bool) []Subsystem {
	order := slices.Clone(rows)
	slices.SortStableFunc(order, func(a, b Subsystem) int {
		byName := strings.Compare(a.Name, b.Name)
		switch {
		case c.less == nil && reversed:
			return -byName
		case c.less == nil:
			return byName
		case reversed:
			return cmp.Or(-c.less(a, b), byName)
		default:
			return cmp.Or(c.less(a, b), byName)
		}
	})
	return order
}

// Headline says which host this is and how much it does.
func (r *Reading) Headline() string {
	return fmt.Sprintf("host %s  pid %d  up %s  socket %s  %s calls/s", r.Version, r.PID, span(r.UptimeSeconds), r.Socket, rate(r.CallsPerSecond))
}
