package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events per period.
type Rate struct {
	Events uint64        // at least 1
	Per    time.Duration // above zero
}

const rateForm = `A rate is a count per period, such as "50/s" or "1000/min".`

const periodForm = `A rate is a count per period. Periods are s, sec, m, min, h, hour, day, or a duration such as 5m, as in "1000/5m".`

// ParseRate reads a rate as config.hcl writes it: a whole number of events, a
// slash and a period. The error says what to write instead.
func ParseRate(text string) (Rate, error) {
	count, period, found := strings.Cut(text, "/")
	count, period = strings.TrimSpace(count), strings.TrimSpace(period)
	if !found || period == "" {
		hint := ""
		if n, err := strconv.ParseUint(count, 10, 64); err == nil && n > 0 {
			hint = count + "/s"
		}
		return Rate{}, &unitError{"Rate without a period", rateForm, hint}
	}
	if !isDigits(count) {
		return Rate{}, &unitError{"Invalid rate", rateForm + ` The count is a whole number; one event in two seconds is "1/2s".`, ""}
	}
	events, err := strconv.ParseUint(count, 10, 64)
	if err != nil {
		return Rate{}, &unitError{"Invalid rate", rateForm + " The count is at most 18446744073709551615.", ""}
	}
	if events == 0 {
		return Rate{}, &unitError{"Invalid rate", rateForm + " The count is at least 1.", ""}
	}
	per := parsePeriod(period)
	if per <= 0 {
		return Rate{}, &unitError{"Invalid rate period", periodForm, periodHint(count, period)}
	}
	return Rate{events, per}, nil
}

// parsePeriod returns the length of a period; 0 when it is none.
func parsePeriod(period string) time.Duration {
	switch period {
	case "sec":
		period = "1s"
	case "min":
		period = "1m"
	case "hour":
		period = "1h"
	case "day":
		period = "24h"
	case "us", "ms", "s", "m", "h":
		period = "1" + period
	}
	if !isDigit(period[0]) {
		return 0
	}
	d, err := time.ParseDuration(period)
	if err != nil {
		return 0
	}
	return d
}

// periodHint guesses at a rate with a misspelt period; "" for none.
func periodHint(count, period string) string {
	if isDigits(period) {
		if parsePeriod(period+"s") > 0 {
			return count + "/" + period + "s"
		}
		return ""
	}
	switch strings.ToLower(period) {
	case "s", "secs", "second", "seconds":
		return count + "/s"
	case "mins", "minute", "minutes":
		return count + "/min"
	case "h", "hr", "hours":
		return count + "/h"
	case "d", "1d", "days":
		return count + "/day"
	}
	return ""
}

// String writes r in a form that ParseRate reads back.
func (r Rate) String() string {
	for _, period := range []string{"s", "min", "h", "day"} {
		if parsePeriod(period) == r.Per {
			return fmt.Sprintf("%d/%s", r.Events, period)
		}
	}
	return fmt.Sprintf("%d/%s", r.Events, FormatDuration(r.Per))
}
