package config

import (
	"fmt"
	"strings"
	"time"
)

// unitError is a text that is not a quantity. Its hint may quote the text, so
// that it is left out where the text is a secret.
type unitError struct {
	summary string // a few stable words
	allowed string // sentences: what a quantity looks like
	hint    string // what was probably meant, in the same notation; may be ""
}

func (e *unitError) Error() string {
	text := strings.ToLower(e.summary[:1]) + e.summary[1:] + ": " + e.allowed
	if e.hint != "" {
		text += didYouMean(e.hint)
	}
	return text
}

// didYouMean continues a sentence with a suggestion in quotes.
func didYouMean(text string) string { return fmt.Sprintf(" Did you mean %q?", text) }

const durationForm = `A duration is a number with a unit, such as "500ms", "5s", "1m30s" or "2h".`

// ParseDuration reads a duration as config.hcl writes it: one or more decimal
// numbers, each with a unit out of ns, us, ms, s, m and h. A sign is refused:
// nothing in a config lasts less than no time. The error says what to write
// instead.
func ParseDuration(text string) (time.Duration, error) {
	if isNumber(text) {
		return 0, &unitError{"Duration without a unit", durationForm, durationHint(text + "s")}
	}
	d, err := time.ParseDuration(text)
	if err == nil && !strings.HasPrefix(text, "-") && !strings.HasPrefix(text, "+") {
		return d, nil
	}
	return 0, &unitError{"Invalid duration", durationForm, durationHint(text)}
}

// durationHint guesses at a duration that Go does not write so; "" for none.
func durationHint(text string) string {
	number, unit := splitNumber(text)
	if !isNumber(number) {
		return ""
	}
	guess := ""
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "s", "sec", "secs", "second", "seconds":
		guess = number + "s"
	case "m", "min", "mins", "minute", "minutes":
		guess = number + "m"
	case "h", "hr", "hrs", "hour", "hours":
		guess = number + "h"
	case "ms", "msec", "millisecond", "milliseconds":
		guess = number + "ms"
	case "d", "day", "days":
		if days, err := time.ParseDuration(number + "h"); err == nil && days < 1000*time.Hour {
			guess = FormatDuration(24 * days)
		}
	}
	if _, err := time.ParseDuration(guess); err != nil {
		return ""
	}
	return guess
}

// FormatDuration writes d as a config would: "1m", not "1m0s".
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// splitNumber parts the leading digits and dots of text from what follows.
func splitNumber(text string) (number, rest string) {
	end := 0
	for end < len(text) && (isDigit(text[end]) || text[end] == '.') {
		end++
	}
	return text[:end], text[end:]
}

// isNumber reports whether text is a plain decimal number without a sign.
func isNumber(text string) bool {
	whole, fraction, dotted := strings.Cut(text, ".")
	return isDigits(whole) && (!dotted || isDigits(fraction))
}

func isDigits(text string) bool {
	for i := range len(text) {
		if !isDigit(text[i]) {
			return false
		}
	}
	return text != ""
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
