package gate

import (
	"strconv"
	"strings"
)

// Override is a quota of its own for some values of a key.
type Override struct {
	// Pattern is a value in lower case, or "*.suffix" for all that end in
	// ".suffix". The value itself wins, then the longest suffix.
	Pattern string
	Quota
}

// overrides finds the pace of a value.
type overrides struct {
	exact  map[string]*pace
	suffix map[string]*pace // by the suffix with its dot
}

// newOverrides returns the overrides of the rate whose block is at path.
func newOverrides(all []Override, path string) overrides {
	o := overrides{exact: map[string]*pace{}, suffix: map[string]*pace{}}
	for _, each := range all {
		p := newPace(each.Quota, path+".override["+strconv.Quote(each.Pattern)+"]")
		if suffix, ok := strings.CutPrefix(each.Pattern, "*."); ok {
			o.suffix["."+suffix] = p
		} else {
			o.exact[each.Pattern] = p
		}
	}
	return o
}

// find returns the pace of a value; nil when no override is for it.
func (o overrides) find(value string) *pace {
	if p := o.exact[value]; p != nil {
		return p
	}
	for rest := value; len(o.suffix) > 0; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return nil
		}
		if p := o.suffix[rest[dot:]]; p != nil {
			return p
		}
		rest = rest[dot+1:]
	}
	return nil
}
