package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// Restart says how an instance that ended is replaced.
type Restart struct {
	Backoff     time.Duration // before the second attempt; the first is made at once
	MaxBackoff  time.Duration // at least Backoff
	StableAfter time.Duration // of readiness, after which an exit counts as the first again
	Hold        time.Duration // how long calls wait for an instance; 0 refuses them at once
}

func defaultRestart() Restart {
	return Restart{
		Backoff:     200 * time.Millisecond,
		MaxBackoff:  30 * time.Second,
		StableAfter: time.Minute,
		Hold:        2 * time.Second,
	}
}

func (r *Restart) table() table {
	return table{
		name: "restart",
		doc:  "How an instance that ended is replaced. The first restart happens at once.",
		arguments: []argument{
			{name: "backoff", doc: "Wait before the second restart; it doubles with each further one.", target: durationAt{&r.Backoff, time.Millisecond, time.Hour}},
			{name: "max_backoff", doc: "Longest wait between restarts; at least `backoff`.", target: durationAt{&r.MaxBackoff, time.Millisecond, 24 * time.Hour}},
			{name: "stable_after", doc: "How long an instance is ready before its next exit counts as a first one again.", target: durationAt{&r.StableAfter, 0, 24 * time.Hour}},
			{name: "hold", doc: "How long calls wait for an instance to come back; 0s refuses them at once.", target: durationAt{&r.Hold, 0, time.Hour}},
		},
		check:    r.check,
		compared: []string{"backoff", "max_backoff"},
	}
}

func (r *Restart) check(at ranges) hcl.Diagnostics {
	if r.MaxBackoff >= r.Backoff {
		return nil
	}
	// The default of one of the two may be the smaller one: point at what is
	// in the file.
	where, written := at["restart.max_backoff"]
	if !written {
		where = at["restart.backoff"]
	}
	return hcl.Diagnostics{fault(where, "Backoff above its maximum",
		fmt.Sprintf("backoff is %s and max_backoff is %s. Write a max_backoff of at least %s.",
			formatDuration(r.Backoff), formatDuration(r.MaxBackoff), formatDuration(r.Backoff)))}
}
