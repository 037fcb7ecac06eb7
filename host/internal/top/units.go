package top

import (
	"fmt"
	"strconv"
	"time"
)

// rate writes events per second in at most five characters.
func rate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return "0"
	case perSecond < 9.95:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	case perSecond < 99_999.5:
		return strconv.FormatFloat(perSecond, 'f', 0, 64)
	case perSecond < 999_500:
		return strconv.FormatFloat(perSecond/1e3, 'f', 0, 64) + "k"
	default:
		return strconv.FormatFloat(perSecond/1e6, 'f', 1, 64) + "M"
	}
}

// seconds writes a latency with two or three digits.
func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	switch d := time.Duration(*s * float64(time.Second)); {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Round(time.Microsecond).Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", *s*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", *s*1e3)
	default:
		return fmt.Sprintf("%.1fs", *s)
	}
}

// size writes bytes with a binary unit.
func size(bytes *uint64) string {
	if bytes == nil {
		return "-"
	}
	switch b := float64(*bytes); {
	case b < 1<<20:
		return fmt.Sprintf("%.0fKiB", b/(1<<10))
	case b < 1<<30:
		return fmt.Sprintf("%.0fMiB", b/(1<<20))
	default:
		return fmt.Sprintf("%.1fGiB", b/(1<<30))
	}
}

// cores writes busy cores as top(1) does: 150% are one and a half.
func cores(cpu *float64) string {
	if cpu == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", *cpu*100)
}

// span is Span of seconds.
func span(s float64) string { return Span(time.Duration(s * float64(time.Second))) }

// Span writes a time with its two largest units; one before now is none.
func Span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}
