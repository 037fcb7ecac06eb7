package config

import (
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// stringAt is a string. check returns what is wrong with it, "" for nothing; it
// may be nil.
type stringAt struct {
	p     *string
	kind  string // what it is, for the reference
	check func(string) (summary, detail, hint string)
}

func (t stringAt) set(v value) *hcl.Diagnostic {
	s, diag := v.text()
	if diag != nil {
		return diag
	}
	if t.check != nil {
		if summary, detail, hint := t.check(s); summary != "" {
			return v.fault(summary, detail, hint)
		}
	}
	*t.p = s
	return nil
}

func (t stringAt) form() string { return t.kind }

func (t stringAt) current() string {
	if *t.p == "" {
		return ""
	}
	return strconv.Quote(*t.p)
}

// intAt is a whole number.
type intAt struct {
	p         *int
	low, high int64
}

func (c intAt) set(v value) *hcl.Diagnostic {
	n, diag := v.integer(big.NewInt(c.low), big.NewInt(c.high))
	if diag == nil {
		*c.p = int(n.Int64())
	}
	return diag
}

func (c intAt) form() string    { return fmt.Sprintf("number, %d to %d", c.low, c.high) }
func (c intAt) current() string { return strconv.Itoa(*c.p) }

// durationAt is a duration.
type durationAt struct {
	p         *time.Duration
	low, high time.Duration
}

func (s durationAt) set(v value) *hcl.Diagnostic {
	d, diag := v.duration()
	if diag != nil {
		return diag
	}
	if d < s.low || d > s.high {
		return v.fault("Duration out of range",
			fmt.Sprintf("%s is a duration from %s to %s.", v.name, formatDuration(s.low), formatDuration(s.high)), "")
	}
	*s.p = d
	return nil
}

func (s durationAt) form() string {
	return fmt.Sprintf("duration, %s to %s", formatDuration(s.low), formatDuration(s.high))
}

func (s durationAt) current() string { return strconv.Quote(formatDuration(*s.p)) }
