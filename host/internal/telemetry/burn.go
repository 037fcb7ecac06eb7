package telemetry

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// month is the period that an objective is about, as operators think of it.
const month = 30 * 24 * time.Hour

// The severities of alerts.
const (
	severityPage   = "page"   // wake somebody up
	severityTicket = "ticket" // look at it on a working day
)

// crowdedFor is how long there may be more calls in flight than promised.
const crowdedFor = "10m"

// burnRate is how much faster than evenly over a month the budget of bad calls
// may be spent. An alert fires when it is spent more than factor times as fast
// over the long window, and still is over the short one: the first says that it
// matters, the second that it is not over.
type burnRate struct {
	severity    string
	factor      float64
	long, short time.Duration
}

// burnRates are those of Google's Site Reliability Workbook, chapter 5, table
// 5-8: they spend 2, 5, 10 and 10 % of a month's budget.
func burnRates() []burnRate {
	return []burnRate{
		{severityPage, 14.4, time.Hour, 5 * time.Minute},
		{severityPage, 6, 6 * time.Hour, 30 * time.Minute},
		{severityTicket, 3, 24 * time.Hour, 2 * time.Hour},
		{severityTicket, 1, 3 * 24 * time.Hour, 6 * time.Hour},
	}
}

// spent is the share of a month's budget that is gone when the alert fires for
// a burn that began one long window ago.
func (b burnRate) spent() float64 { return b.factor * b.long.Hours() / month.Hours() }

// burnWindows are the windows of all burn rates, the shortest first.
func burnWindows() []time.Duration {
	var all []time.Duration
	for _, b := range burnRates() {
		all = append(all, b.long, b.short)
	}
	slices.SortFunc(all, cmp.Compare)
	return slices.Compact(all)
}

// promDuration writes 72h as 3d.
func promDuration(d time.Duration) string { return model.Duration(d).String() }
