package config

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// A number or quantity below the lower bound of its target is the zero of a
// setting that has no default: the reference prints none.

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

// wordAt is one of a few words.
type wordAt[T ~string] struct {
	p     *T
	words []T
}

func (t wordAt[T]) set(v value) *hcl.Diagnostic {
	if i := slices.Index(t.words, T(v.raw())); i >= 0 {
		*t.p = t.words[i]
		return nil
	}
	hint, _ := nearest.Name(v.raw(), t.names())
	return v.fault("Unknown value", fmt.Sprintf("%s is one of %s.", v.name, inWords(quoted(t.names()))), hint)
}

func (t wordAt[T]) names() []string {
	var names []string
	for _, word := range t.words {
		names = append(names, string(word))
	}
	return names
}

func (t wordAt[T]) form() string    { return "`" + strings.Join(quoted(t.names()), "` or `") + "`" }
func (t wordAt[T]) current() string { return strconv.Quote(string(*t.p)) }

// intAt is a whole number.
type intAt struct {
	p         *int
	low, high int64
}

func (t intAt) set(v value) *hcl.Diagnostic {
	n, diag := v.integer(big.NewInt(t.low), big.NewInt(t.high))
	if diag == nil {
		*t.p = int(n.Int64())
	}
	return diag
}

func (t intAt) form() string { return fmt.Sprintf("number, %d to %d", t.low, t.high) }

func (t intAt) current() string {
	if int64(*t.p) < t.low {
		return ""
	}
	return strconv.Itoa(*t.p)
}

// durationAt is a duration.
type durationAt struct {
	p         *time.Duration
	low, high time.Duration
	orZero    bool // which turns off what the duration is of
}

func (t durationAt) set(v value) *hcl.Diagnostic {
	d, diag := v.duration()
	if diag != nil {
		return diag
	}
	if (d < t.low || d > t.high) && (d != 0 || !t.orZero) {
		return v.fault("Duration out of range", fmt.Sprintf("%s is a duration %s.", v.name, t.bounds("from ")), "")
	}
	*t.p = d
	return nil
}

func (t durationAt) form() string { return "duration, " + t.bounds("") }

func (t durationAt) bounds(from string) string {
	text := from + FormatDuration(t.low) + " to " + FormatDuration(t.high)
	if t.orZero {
		text += ", or 0s"
	}
	return text
}

func (t durationAt) current() string {
	if *t.p < t.low {
		return ""
	}
	return strconv.Quote(FormatDuration(*t.p))
}

// bytesAt is a size.
type bytesAt struct {
	p         *Bytes
	low, high Bytes
}

func (t bytesAt) set(v value) *hcl.Diagnostic {
	b, diag := v.bytes()
	if diag != nil {
		return diag
	}
	if b < t.low || b > t.high {
		return v.fault("Size out of range", fmt.Sprintf("%s is a size from %v to %v.", v.name, t.low, t.high), "")
	}
	*t.p = b
	return nil
}

func (t bytesAt) form() string { return fmt.Sprintf("size, %v to %v", t.low, t.high) }

func (t bytesAt) current() string {
	if *t.p < t.low {
		return ""
	}
	return strconv.Quote(t.p.String())
}

// percentAt is a percentage.
type percentAt struct {
	p         *Percent
	low, high Percent
}

func (t percentAt) set(v value) *hcl.Diagnostic {
	n, diag := v.percent()
	if diag != nil {
		return diag
	}
	if n < t.low || n > t.high {
		return v.fault("Percentage out of range", fmt.Sprintf("%s is a percentage from %v to %v.", v.name, t.low, t.high), "")
	}
	*t.p = n
	return nil
}

func (t percentAt) form() string { return fmt.Sprintf("percentage, %v to %v", t.low, t.high) }

func (t percentAt) current() string {
	if *t.p < t.low {
		return ""
	}
	return strconv.Quote(t.p.String())
}
