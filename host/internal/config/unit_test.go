package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDurationTakesNumbersWithUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s":     0,
		"1ns":    1,
		"500ms":  500 * time.Millisecond,
		"1.5s":   1500 * time.Millisecond,
		"1m30s":  90 * time.Second,
		"2h":     2 * time.Hour,
		"2h0m1s": 2*time.Hour + time.Second,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseDurationSaysWhatWasMeant(t *testing.T) {
	for _, tt := range []struct{ given, summary, hint string }{
		{"5", "Duration without a unit", "5s"},
		{"0", "Duration without a unit", "0s"},
		{"1.5", "Duration without a unit", "1.5s"},
		{"70000000000", "Duration without a unit", ""},
		{"2 seconds", "Invalid duration", "2s"},
		{"3min", "Invalid duration", "3m"},
		{"250 msec", "Invalid duration", "250ms"},
		{"5S", "Invalid duration", "5s"},
		{"1d", "Invalid duration", "24h"},
		{"1.5 days", "Invalid duration", "36h"},
		{"999999d", "Invalid duration", ""},
		{"", "Invalid duration", ""},
		{"-5s", "Invalid duration", ""},
		{"+5s", "Invalid duration", ""},
		{"5x", "Invalid duration", ""},
		{"1.2.3s", "Invalid duration", ""},
		{"99999999999h", "Invalid duration", ""},
		{"soon", "Invalid duration", ""},
	} {
		_, err := ParseDuration(tt.given)
		checkUnitError(t, tt.given, err, tt.summary, tt.hint)
	}
}

func TestParseBytesTakesBothFamiliesOfUnits(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0B":                    0,
		"512B":                  512,
		"1KB":                   1000,
		"1kB":                   1000,
		"10MB":                  10_000_000,
		"64MiB":                 64 << 20,
		"1.5KiB":                1536,
		"2TiB":                  2 << 40,
		"3TB":                   3_000_000_000_000,
		"18446744073709551615B": math.MaxUint64,
		"007KiB":                7 << 10,
	} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseBytesSaysWhatWasMeant(t *testing.T) {
	for _, tt := range []struct{ given, summary, hint string }{
		{"64", "Size without a unit", "64MiB"},
		{"0", "Size without a unit", "0B"},
		{"67108864", "Size without a unit", "64MiB"},
		{"1.5", "Size without a unit", "1.5MiB"},
		{"64mb", "Invalid size", "64MB"},
		{"64mib", "Invalid size", "64MiB"},
		{"64M", "Invalid size", "64MiB"},
		{"64Gi", "Invalid size", "64GiB"},
		{"64 MiB", "Invalid size", "64MiB"},
		{"64 parsecs", "Invalid size", ""},
		{"0.1", "Size without a unit", ""},
		{"0.1M", "Invalid size", ""},
		{"99999999T", "Invalid size", ""},
		{"1.5B", "Invalid size", ""},
		{"-1MiB", "Invalid size", ""},
		{"1/2MiB", "Invalid size", ""},
		{"", "Invalid size", ""},
		{"MiB", "Invalid size", ""},
		{"18446744073709551616B", "Size too large", ""},
		{"16777216TiB", "Size too large", ""},
		{strings.Repeat("9", 1000) + "B", "Invalid size", ""},
	} {
		_, err := ParseBytes(tt.given)
		checkUnitError(t, tt.given, err, tt.summary, tt.hint)
	}
}

func TestParseRateTakesACountPerPeriod(t *testing.T) {
	for text, want := range map[string]Rate{
		"10/s":                   {10, time.Second},
		"10/sec":                 {10, time.Second},
		"1000/m":                 {1000, time.Minute},
		"1000/min":               {1000, time.Minute},
		"5000/h":                 {5000, time.Hour},
		"5000/hour":              {5000, time.Hour},
		"1/day":                  {1, 24 * time.Hour},
		"1000/5m":                {1000, 5 * time.Minute},
		"3/1m30s":                {3, 90 * time.Second},
		"7/100ms":                {7, 100 * time.Millisecond},
		" 10 / s ":               {10, time.Second},
		"18446744073709551615/s": {math.MaxUint64, time.Second},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseRateSaysWhatWasMeant(t *testing.T) {
	for _, tt := range []struct{ given, summary, hint string }{
		{"50", "Rate without a period", "50/s"},
		{"50/", "Rate without a period", "50/s"},
		{"fast", "Rate without a period", ""},
		{"", "Rate without a period", ""},
		{"50/5", "Invalid rate period", "50/5s"},
		{"50/0", "Invalid rate period", ""},
		{"50/0s", "Invalid rate period", ""},
		{"50/-5s", "Invalid rate period", ""},
		{"50/.5s", "Invalid rate period", ""},
		{"50/second", "Invalid rate period", "50/s"},
		{"50/minutes", "Invalid rate period", "50/min"},
		{"50/d", "Invalid rate period", "50/day"},
		{"50/fortnight", "Invalid rate period", ""},
		{"0.5/s", "Invalid rate", ""},
		{"0/s", "Invalid rate", ""},
		{"-1/s", "Invalid rate", ""},
		{"/s", "Invalid rate", ""},
		{"18446744073709551616/s", "Invalid rate", ""},
		{"1/2/s", "Invalid rate period", ""},
	} {
		_, err := ParseRate(tt.given)
		checkUnitError(t, tt.given, err, tt.summary, tt.hint)
	}
}

func checkUnitError(t *testing.T, given string, err error, summary, hint string) {
	t.Helper()
	got, ok := err.(*unitError) //nolint:errorlint // the parsers return it unwrapped
	if !ok {
		t.Errorf("%q: error %v, want %q", given, err, summary)
		return
	}
	if got.summary != summary || got.hint != hint {
		t.Errorf("%q: %q with hint %q, want %q with hint %q", given, got.summary, got.hint, summary, hint)
	}
}

func TestAUnitErrorReadsAsASentence(t *testing.T) {
	_, err := ParseRate("50")
	want := `rate without a period: A rate is a count per period, such as "50/s" or "1000/min". Did you mean "50/s"?`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestQuantitiesAreWrittenAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{FormatDuration(time.Minute), "1m"},
		{FormatDuration(2 * time.Hour), "2h"},
		{FormatDuration(0), "0s"},
		{FormatDuration(10 * time.Minute), "10m"},
		{FormatDuration(time.Hour + time.Second), "1h0m1s"},
		{FormatDuration(1500 * time.Millisecond), "1.5s"},
		{Bytes(0).String(), "0B"},
		{Bytes(64 << 20).String(), "64MiB"},
		{Bytes(10_000_000).String(), "10MB"},
		{Bytes(1025).String(), "1025B"},
		{Rate{10, time.Second}.String(), "10/s"},
		{Rate{10, 5 * time.Minute}.String(), "10/5m"},
		{Rate{10, 24 * time.Hour}.String(), "10/day"},
		{Percent(0).String(), "0%"},
		{Percent(10_000).String(), "10%"},
		{Percent(99_900).String(), "99.9%"},
		{Percent(1).String(), "0.001%"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func FuzzQuantitiesSurviveWritingAndReading(f *testing.F) {
	f.Add(uint64(0), int64(0))
	f.Add(uint64(1), int64(1))
	f.Add(uint64(64<<20), int64(time.Minute))
	f.Add(uint64(math.MaxUint64), int64(math.MaxInt64))
	f.Add(uint64(1500), int64(90*time.Second))
	f.Fuzz(func(t *testing.T, n uint64, span int64) {
		if got, err := ParseBytes(Bytes(n).String()); err != nil || got != Bytes(n) {
			t.Errorf("size %d is written %q and read as %d, %v", n, Bytes(n), got, err)
		}
		p := Percent(n % uint64(allPercent+1))
		if got, err := ParsePercent(p.String()); err != nil || got != p {
			t.Errorf("percentage %d is written %q and read as %d, %v", uint32(p), p, uint32(got), err)
		}
		d := time.Duration(span)
		if d < 0 {
			return
		}
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Errorf("duration %v is written %q and read as %v, %v", d, FormatDuration(d), got, err)
		}
		if n == 0 || d == 0 {
			return
		}
		if got, err := ParseRate((Rate{n, d}).String()); err != nil || got != (Rate{n, d}) {
			t.Errorf("rate of %d per %v is written %q and read as %v, %v", n, d, Rate{n, d}, got, err)
		}
	})
}

func FuzzParsersReadTheirOwnHints(f *testing.F) {
	for _, seed := range []string{"5", "2 seconds", "1d", "64", "64M", "64 mib", "50", "50/5", "50/d", "-1", "1e9", "..", "/", "9/9/9", "0.1", "0.", "10 percent", "99.9999%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, duration := ParseDuration(text)
		_, size := ParseBytes(text)
		_, rate := ParseRate(text)
		_, percentage := ParsePercent(text)
		for name, err := range map[string]error{"duration": duration, "size": size, "rate": rate, "percentage": percentage} {
			unit, ok := err.(*unitError) //nolint:errorlint // the parsers return it unwrapped
			if err != nil && !ok {
				t.Errorf("%s %q: error %v is no unitError", name, text, err)
			}
			if unit == nil || unit.hint == "" {
				continue
			}
			switch name {
			case "duration":
				_, err = ParseDuration(unit.hint)
			case "size":
				_, err = ParseBytes(unit.hint)
			case "rate":
				_, err = ParseRate(unit.hint)
			case "percentage":
				_, err = ParsePercent(unit.hint)
			}
			if err != nil {
				t.Errorf("%s %q: the hint %q is wrong itself: %v", name, text, unit.hint, err)
			}
		}
	})
}
