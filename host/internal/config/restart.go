package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// Restart says how instances start and end, and how one that ended is
// replaced.
type Restart struct {
	Backoff      time.Duration // before the second attempt; the first is made at once
	MaxBackoff   time.Duration // at least Backoff
	StableAfter  time.Duration // of readiness, after which an exit counts as the first again
	Hold         time.Duration // how long calls wait for an instance; 0 refuses them at once
	Standby      int           // instances that are ready beside the one that serves
	StartTimeout time.Duration // of the process until it is ready
	DrainTimeout time.Duration // of the calls in flight when an instance is to end; 0 cancels them at once
	StopTimeout  time.Duration // from SIGTERM until SIGKILL; 0 sends it at once
	CrashLoop    CrashLoop
}

func defaultRestart() Restart {
	return Restart{
		Backoff:      200 * time.Millisecond,
		MaxBackoff:   30 * time.Second,
		StableAfter:  time.Minute,
		Hold:         2 * time.Second,
		StartTimeout: 10 * time.Second,
		DrainTimeout: 10 * time.Second,
		StopTimeout:  5 * time.Second,
		CrashLoop:    defaultCrashLoop(),
	}
}

func (r *Restart) table() table {
	return table{
		name: "restart",
		doc:  "How instances start and end, and how one that ended is replaced. The first restart happens at once.",
		arguments: []argument{
			{name: "backoff", doc: "Wait before the second restart; it doubles with each further one.", target: durationAt{p: &r.Backoff, low: time.Millisecond, high: time.Hour}},
			{name: "max_backoff", doc: "Longest wait between restarts; at least `backoff`.", target: durationAt{p: &r.MaxBackoff, low: time.Millisecond, high: 24 * time.Hour}},
			{name: "stable_after", doc: "How long an instance is ready before its next exit counts as a first one again.", target: durationAt{p: &r.StableAfter, high: 24 * time.Hour}},
			{name: "hold", doc: "How long calls wait for an instance to come back; 0s refuses them at once.", target: durationAt{p: &r.Hold, high: time.Hour}},
			{name: "standby", doc: "Warm spares: instances that are ready to take over.", target: intAt{&r.Standby, 0, 8}},
			{name: "start_timeout", doc: "How long an instance may take from its start until it is ready.", target: durationAt{p: &r.StartTimeout, low: 100 * time.Millisecond, high: 10 * time.Minute}},
			{name: "drain_timeout", doc: "How long calls in flight may take when their instance is to end; then they are cancelled.", target: durationAt{p: &r.DrainTimeout, high: time.Hour}},
			{name: "stop_timeout", doc: "How long an instance may take to end after SIGTERM; then it is killed.", target: durationAt{p: &r.StopTimeout, high: 5 * time.Minute}},
		},
		blocks: []table{r.CrashLoop.table()},
		checks: []check{{[]string{"backoff", "max_backoff"}, r.checkBackoff}},
	}
}

func (r *Restart) checkBackoff(in scope) *hcl.Diagnostic {
	if r.MaxBackoff >= r.Backoff {
		return nil
	}
	// The default of one of the two may be the smaller one: point at what is
	// in the file.
	return fault(in.place("max_backoff", "backoff"), "Backoff above its maximum",
		fmt.Sprintf("backoff is %s and max_backoff is %s. Write a max_backoff of at least %s.",
			FormatDuration(r.Backoff), FormatDuration(r.MaxBackoff), FormatDuration(r.Backoff)))
}
