package config

import (
	"strings"
	"testing"
)

func TestParsePercentTakesThreeDecimals(t *testing.T) {
	for text, want := range map[string]Percent{
		"0%":      0,
		"10%":     10_000,
		"99.9%":   99_900,
		"99.999%": 99_999,
		"0.001%":  1,
		"007.50%": 7_500,
		"100%":    allPercent,
	} {
		got, err := ParsePercent(text)
		if err != nil || got != want {
			t.Errorf("ParsePercent(%q) = %d, %v, want %d", text, uint32(got), err, uint32(want))
		}
	}
}

func TestParsePercentSaysWhatWasMeant(t *testing.T) {
	for _, tt := range []struct{ given, summary, hint string }{
		{"10", "Percentage without a percent sign", "10%"},
		{"99.9", "Percentage without a percent sign", "99.9%"},
		{"0", "Percentage without a percent sign", "0%"},
		{"1", "Percentage without a percent sign", "1%"},
		{"0.1", "Percentage without a percent sign", "10%"},
		{"0.05", "Percentage without a percent sign", "5%"},
		{"0.999", "Percentage without a percent sign", "99.9%"},
		{"0.12345", "Percentage without a percent sign", "12.345%"},
		{"0.123456", "Percentage without a percent sign", ""},
		{"101", "Percentage without a percent sign", ""},
		{"10 %", "Invalid percentage", "10%"},
		{"10 percent", "Invalid percentage", "10%"},
		{"10Pct", "Invalid percentage", "10%"},
		{"10‰", "Invalid percentage", ""},
		{"99.9999%", "Invalid percentage", ""},
		{"0.9999%", "Invalid percentage", ""},
		{"-1%", "Invalid percentage", ""},
		{"%", "Invalid percentage", ""},
		{"", "Invalid percentage", ""},
		{"0.", "Invalid percentage", "0%"},
		{"1.%", "Invalid percentage", ""},
		{"10%%", "Invalid percentage", ""},
		{"100.001%", "Percentage out of range", ""},
		{"99999999999999999999%", "Percentage out of range", ""},
		{strings.Repeat("9", 1000) + "%", "Invalid percentage", ""},
	} {
		_, err := ParsePercent(tt.given)
		checkUnitError(t, tt.given, err, tt.summary, tt.hint)
	}
}

func TestAPercentageIsAFraction(t *testing.T) {
	for p, want := range map[Percent]float64{0: 0, 10_000: 0.1, 99_900: 0.999, allPercent: 1} {
		if got := p.Fraction(); got != want {
			t.Errorf("%v is %v, want %v", p, got, want)
		}
	}
}
