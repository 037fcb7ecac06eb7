package gate

import (
	"bytes"
	"slices"
	"strings"
)

// Override is another quota for some values of a key.
type Override struct {
	// Pattern is a value in lower case, or "*.suffix", which stands for all
	// values that end in ".suffix". The exact one wins, then the longest suffix.
	Pattern string
	Quota
}

// quotaFor returns the quota for a value of the key, and the pattern that it
// comes from, "" for none.
func (r *Rate) quotaFor(value string) (Quota, string) {
	value = strings.ToLower(value)
	best := -1
	for i, o := range r.Overrides {
		if o.Pattern == value {
			return o.Quota, o.Pattern
		}
		suffix, isSuffix := strings.CutPrefix(o.Pattern, "*")
		if isSuffix && strings.HasSuffix(value, suffix) && (best < 0 || len(o.Pattern) > len(r.Overrides[best].Pattern)) {
			best = i
		}
	}
	if best < 0 {
		return r.Quota, ""
	}
	return r.Overrides[best].Quota, r.Overrides[best].Pattern
}

// isNamed reports whether the operator has named this very value.
func (r *Rate) isNamed(value string) bool {
	return slices.ContainsFunc(r.Overrides, func(o Override) bool { return strings.EqualFold(o.Pattern, value) })
}

// longestKey is how much of a value tells it from others, in bytes: a caller
// may send any text in the place of a domain.
const longestKey = 255

func shortened(value []byte) []byte {
	if len(value) > longestKey {
		return bytes.ToValidUTF8(value[:longestKey], nil)
	}
	return value
}
