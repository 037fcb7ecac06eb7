package config

import (
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// RateOverride is a rate of its own for some values of a key.
type RateOverride struct {
	Pattern string // a value in lower case, or "*." and what it ends in; unique in its rate
	Limit   Rate
	Burst   int // calls admitted at once after an idle spell; at least 1
}

func newRateOverride(pattern string) RateOverride { return RateOverride{Pattern: pattern} }

func (o *RateOverride) path() string { return ".override[" + strconv.Quote(o.Pattern) + "]" }

// table returns the table of an override of r, whose own arguments are decoded
// before it.
func (o *RateOverride) table(r *RatePolicy) table {
	return table{
		name: "override",
		doc: "Another limit or burst, or both, for some values of the key: for one, such as `\"api.github.com\"`, or for all that end in a suffix, such as `\"*.github.com\"`. " +
			"Values are compared in lower case; the exact one wins, then the longest suffix.",
		label:      "pattern",
		checkLabel: checkPattern,
		arguments: []argument{
			{name: "limit", doc: "Default: the one of the rate.", target: rateAt{&o.Limit}},
			{name: "burst", doc: "Default: the one written in the rate, else the calls of 100ms, at least 1.", target: intAt{&o.Burst, 1, maxBurst}},
		},
		checks: []check{{[]string{"limit", "burst"}, func(in scope) *hcl.Diagnostic {
			if o.Limit.Events == 0 && o.Burst == 0 {
				return fault(in.place(), "Empty override", `An override has a limit or a burst of its own. Write one of them, such as limit = "100/s".`)
			}
			limit, burst := o.effective(r)
			return checkRefill(in, limit, burst)
		}}},
	}
}

// effective returns what holds for the override. r is not settled yet.
func (o *RateOverride) effective(r *RatePolicy) (Rate, int) {
	limit, burst := o.Limit, o.Burst
	if limit.Events == 0 {
		limit = r.Limit
	}
	if burst == 0 {
		burst = r.Burst
	}
	if burst == 0 {
		burst = defaultBurst(limit)
	}
	return limit, burst
}

// checkPattern returns what is wrong with the pattern of an override.
func checkPattern(pattern string) (summary, detail, hint string) {
	const form = `A pattern is a value in lower case, such as "api.github.com", or "*." and what the value ends in, such as "*.github.com".`
	suffix := strings.TrimPrefix(pattern, "*.")
	switch {
	case pattern == "*":
		return "Invalid pattern", "The rate itself is for all values that no override names: write their limit there. " + form, ""
	case pattern == "":
		return "Invalid pattern", form, ""
	case suffix == "" || strings.Contains(suffix, "*"):
		return "Invalid pattern", "A star is only the first character, before a dot and a suffix. " + form, suffixHint(pattern)
	case normal(pattern) != pattern:
		return "Invalid pattern", form, normal(pattern)
	}
	return "", "", ""
}

// suffixHint guesses which suffix a pattern with stars elsewhere is about: what
// follows the last one, if that is more than a top-level domain. It is "" for
// no guess.
func suffixHint(pattern string) string {
	suffix := strings.TrimPrefix(pattern[strings.LastIndexByte(pattern, '*')+1:], ".")
	if !strings.Contains(pattern, "*") || !strings.Contains(suffix, ".") {
		return ""
	}
	return "*." + normal(suffix)
}

// normal returns how the values of keys are compared.
func normal(text string) string { return strings.ToLower(strings.TrimSpace(text)) }
