package config

import (
	"math/big"
	"strconv"
	"strings"
)

// Bytes is a size in bytes.
type Bytes uint64

const sizeForm = `A size is a number with a unit, such as "64MiB" (1024-based: KiB, MiB, GiB, TiB), "10MB" (1000-based: KB, MB, GB, TB) or "512B".`

// maxNumber is how long a number may be written; the largest count of bytes
// has 20 digits.
const maxNumber = 40

// byteUnit returns how many bytes one of unit is; 0 for an unknown unit.
func byteUnit(unit string) uint64 {
	switch unit {
	case "B":
		return 1
	case "KB", "kB":
		return 1e3
	case "MB":
		return 1e6
	case "GB":
		return 1e9
	case "TB":
		return 1e12
	case "KiB":
		return 1 << 10
	case "MiB":
		return 1 << 20
	case "GiB":
		return 1 << 30
	case "TiB":
		return 1 << 40
	}
	return 0
}

// ParseBytes reads a size as config.hcl writes it: a decimal number and a
// unit, with nothing between them. A fraction is fine where it makes whole
// bytes ("1.5KiB"). The error says what to write instead.
func ParseBytes(text string) (Bytes, error) {
	number, unit := splitNumber(text)
	switch {
	case isNumber(text):
		return 0, &unitError{"Size without a unit", sizeForm, bareBytesHint(text)}
	case !isNumber(number) || byteUnit(unit) == 0 || len(number) > maxNumber:
		return 0, &unitError{"Invalid size", sizeForm, bytesHint(number, unit)}
	}
	size, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, &unitError{"Invalid size", sizeForm, ""}
	}
	size.Mul(size, new(big.Rat).SetInt(new(big.Int).SetUint64(byteUnit(unit))))
	switch {
	case !size.IsInt():
		return 0, &unitError{"Invalid size", "A size is a whole number of bytes. " + sizeForm, ""}
	case !size.Num().IsUint64():
		return 0, &unitError{"Size too large", "A size is at most 16777215TiB. " + sizeForm, ""}
	}
	return Bytes(size.Num().Uint64()), nil
}

// bareBytesHint guesses what a bare number means: a count of bytes where it
// is too large to be anything else.
func bareBytesHint(number string) string {
	switch n, err := strconv.ParseUint(number, 10, 64); {
	case len(number) > maxNumber:
		return ""
	case err == nil && (n == 0 || n >= 1<<20):
		return Bytes(n).String()
	}
	return ifBytes(number + "MiB")
}

// bytesHint guesses at a size with a misspelt unit; "" for none.
func bytesHint(number, unit string) string {
	if !isNumber(number) || len(number) > maxNumber {
		return ""
	}
	unit = strings.TrimSpace(unit)
	for _, known := range []string{"B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"} {
		if strings.EqualFold(unit, known) {
			return ifBytes(number + known)
		}
		if len(known) == 3 && (strings.EqualFold(unit, known[:1]) || strings.EqualFold(unit, known[:2])) {
			return ifBytes(number + known)
		}
	}
	return ""
}

// ifBytes returns a guess that is a size indeed: a whole number of bytes that
// is not too large. It is "" for others.
func ifBytes(guess string) string {
	if _, err := ParseBytes(guess); err != nil {
		return ""
	}
	return guess
}

// String writes b with the largest unit that keeps it exact, so that
// ParseBytes reads it back.
func (b Bytes) String() string {
	for _, unit := range []string{"TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB"} {
		if size := byteUnit(unit); b != 0 && uint64(b)%size == 0 {
			return strconv.FormatUint(uint64(b)/size, 10) + unit
		}
	}
	return strconv.FormatUint(uint64(b), 10) + "B"
}
