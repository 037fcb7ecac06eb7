package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Percent is a share, in thousandths of a percent: 99.9% is 99900.
type Percent uint32

const (
	percentDecimals = 3
	onePercent      = Percent(1000)
	allPercent      = 100 * onePercent
)

const percentForm = `A percentage is a number from 0 to 100 with at most three decimals and a percent sign, such as "10%" or "99.9%".`

// ParsePercent reads a percentage as config.hcl writes it, from 0% to 100%. The
// error says what to write instead.
func ParsePercent(text string) (Percent, error) {
	number, signed := strings.CutSuffix(text, "%")
	n, ok := asThousandths(number)
	switch {
	case isNumber(text):
		return 0, &unitError{"Percentage without a percent sign", percentForm, percentHint(text, "")}
	case !signed || !ok:
		return 0, &unitError{"Invalid percentage", percentForm, percentHint(splitNumber(text))}
	case n > uint64(allPercent):
		return 0, &unitError{"Percentage out of range", percentForm, ""}
	}
	return Percent(n), nil
}

// asThousandths reads a number with at most three decimals. Those beyond the
// range are the greatest.
func asThousandths(number string) (uint64, bool) {
	whole, decimals, _ := strings.Cut(number, ".")
	if !isNumber(number) || len(number) > maxNumber || len(decimals) > percentDecimals {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+decimals+strings.Repeat("0", percentDecimals-len(decimals)), 10, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}

// percentHint guesses at a percentage with a misspelt sign, or with none. A
// number without a sign that is below one was meant as a fraction. It is ""
// for no guess.
func percentHint(number, sign string) string {
	switch strings.ToLower(strings.TrimSpace(sign)) {
	case "", "%", "percent", "pct":
	default:
		return ""
	}
	if fraction, ok := strings.CutPrefix(number, "0."); ok && sign == "" {
		fraction += strings.Repeat("0", max(0, percentDecimals-len(fraction)))
		number = fraction[:2] + "." + fraction[2:]
	}
	n, ok := asThousandths(number)
	if !ok || n > uint64(allPercent) {
		return ""
	}
	return Percent(n).String()
}

// Fraction returns p as a number from 0 to 1.
func (p Percent) Fraction() float64 { return float64(p) / float64(allPercent) }

// String writes p in the form that ParsePercent reads back.
func (p Percent) String() string {
	text := strconv.FormatUint(uint64(p/onePercent), 10)
	if decimals := p % onePercent; decimals > 0 {
		text += strings.TrimRight(fmt.Sprintf(".%03d", decimals), "0")
	}
	return text + "%"
}
