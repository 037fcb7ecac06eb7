package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// column is one of the table.
type column struct {
	head string
	cell func(Subsystem) string
	less func(a, b Subsystem) int // nil: by the name; else the largest is first
	rank int                      // the columns of the highest rank go first where there is no room
}

// columns are those of the table, in their order.
func columns() []column {
	return []column{
		{head: "SUBSYSTEM", cell: func(s Subsystem) string { return s.Name }},
		{"STATE", func(s Subsystem) string { return s.State }, by(func(s Subsystem) string { return s.State }), 0},
		{"CALLS/S", func(s Subsystem) string { return rate(s.CallsPerSecond) }, by(func(s Subsystem) float64 { return s.CallsPerSecond }), 0},
		{"FAIL/S", func(s Subsystem) string { return rate(s.FailuresPerSecond) }, by(func(s Subsystem) float64 { return s.FailuresPerSecond }), 4},
		{"P95", func(s Subsystem) string { return seconds(s.P95Seconds) }, by(func(s Subsystem) float64 { return known(s.P95Seconds) }), 0},
		{"IN FLIGHT", inFlight, by(func(s Subsystem) uint32 { return s.InFlight }), 1},
		{"QUEUED", func(s Subsystem) string { return strconv.Itoa(int(s.Queued)) }, by(func(s Subsystem) uint32 { return s.Queued }), 3},
		{"REJ/S", func(s Subsystem) string { return rate(s.RejectedPerSecond) }, by(func(s Subsystem) float64 { return s.RejectedPerSecond }), 2},
		{"RESTARTS", func(s Subsystem) string { return strconv.FormatUint(s.Restarts, 10) }, by(func(s Subsystem) uint64 { return s.Restarts }), 3},
		{"MEMORY", func(s Subsystem) string { return size(s.MemoryBytes) }, by(func(s Subsystem) uint64 { return known(s.MemoryBytes) }), 1},
		{"CPU", func(s Subsystem) string { return cores(s.CPU) }, by(func(s Subsystem) float64 { return known(s.CPU) }), 2},
		{"FILES", files, by(func(s Subsystem) uint64 { return known(s.OpenFiles) }), 5},
	}
}

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
