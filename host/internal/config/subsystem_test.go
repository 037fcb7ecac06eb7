package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// loadOne loads a config whose only subsystem has the given lines.
func loadOne(t *testing.T, lines string) *Subsystem {
	t.Helper()
	config, report := loadText(t, "subsystem \"s\" {\n  plugin = \"p\"\n"+lines+"\n}\n", nil)
	if report.Len() > 0 {
		t.Fatalf("config does not load:\n%s", plain(t, report))
	}
	return &config.Subsystems[0]
}

func TestACompleteConfigLoads(t *testing.T) {
	config, report := Load("testdata/complete.hcl", nil)
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	want := []Subsystem{{
		Name:   "api_client_pool",
		Plugin: "gaia-api-client-pool",
		Limits: Limits{Concurrency: 1000, Min: 1, Max: 1000, Queue: 2000, Timeout: 30 * time.Second, Memory: 512 << 20},
		Rates: []RatePolicy{
			{Name: "global", Limit: Rate{1000, time.Second}, Burst: 200},
			{
				Name: "domain", Key: "domain", Limit: Rate{100, time.Second}, Burst: 20, Wait: 5 * time.Second,
				Overrides: []RateOverride{{Pattern: "api.github.com", Limit: Rate{5000, time.Hour}, Burst: 20}},
			},
		},
		Breakers: []Breaker{{Key: "domain", Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
		Retry:    Retry{Attempts: 2, Budget: 10_000},
		Restart: Restart{
			Backoff: 200 * time.Millisecond, MaxBackoff: 30 * time.Second, StableAfter: time.Minute, Hold: 2 * time.Second,
			StartTimeout: 10 * time.Second, DrainTimeout: 10 * time.Second, StopTimeout: 5 * time.Second,
			CrashLoop: CrashLoop{Exits: 5, Within: 5 * time.Minute, Then: ThenQuarantine},
		},
		Health: Health{Every: 5 * time.Second, Timeout: time.Second, Misses: 3},
		SLO:    SLO{Success: 99_000, P95: 100 * time.Millisecond, InFlight: 450},
	}}
	if diff := cmp.Diff(want, config.Subsystems, cmpopts.IgnoreUnexported(Subsystem{})); diff != "" {
		t.Errorf("subsystems differ (-want +got):\n%s", diff)
	}
}

func TestEveryLimitIsTaken(t *testing.T) {
	s := loadOne(t, `
		limits {
			concurrency = "adaptive"
			min         = 5
			max         = 2000
			memory      = "16MiB"
			cpu         = "1.5"
			processes   = 1
			open_files  = 16
			per_key "root" {
				concurrency = 8
			}
			per_key "domain" {
				concurrency = 4
				queue       = 16
			}
		}`)
	want := Limits{
		Concurrency: 2000, Adaptive: true, Min: 5, Max: 2000, Queue: 2000, Timeout: 30 * time.Second,
		PerKey: []KeyLimit{{Key: "root", Concurrency: 8}, {Key: "domain", Concurrency: 4, Queue: 16}},
		Memory: 16 << 20, CPU: 1.5, Processes: 1, OpenFiles: 16,
	}
	if diff := cmp.Diff(want, s.Limits); diff != "" {
		t.Errorf("limits differ (-want +got):\n%s", diff)
	}
}

func TestAnAdaptiveConcurrencyHasBoundsByDefault(t *testing.T) {
	t.Setenv("GAIA_TEST_CONCURRENCY", "adaptive")
	l := loadOne(t, `limits { concurrency = env("GAIA_TEST_CONCURRENCY") }`).Limits
	if !l.Adaptive || l.Min != 1 || l.Max != 1000 || l.Concurrency != 1000 {
		t.Errorf("got %+v", l)
	}
}

func TestCoresAreGuessedFromOtherNotations(t *testing.T) {
	for text, want := range map[string]string{
		"500m": "0.5", "150%": "1.5", "2 cores": "2", "2cores": "2", "1core": "1",
		"5m": "", "2000000m": "", "m": "", "..m": "", "two": "", "": "", "2 threads": "",
	} {
		if got := coresHint(text); got != want {
			t.Errorf("coresHint(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestABurstIsByDefaultWhat100MillisecondsHold(t *testing.T) {
	for limit, want := range map[string]int{
		"1/s": 1, "9/s": 1, "19/s": 1, "20/s": 2, "1000/s": 100, "10000000/s": 1_000_000,
		"5000/h": 1, "7/100ms": 7, "1/100ns": 1_000_000, "1/31ms": 3, "7000000/744h": 1, "26784000000000/744h": 1_000_000,
	} {
		s := loadOne(t, "rate \"r\" {\nlimit = \""+limit+"\"\n}")
		if got := s.Rates[0].Burst; got != want {
			t.Errorf("the burst of %s is %d, want %d", limit, got, want)
		}
	}
}

func TestAnOverrideTakesOverWhatItDoesNotSet(t *testing.T) {
	s := loadOne(t, `
		rate "burst_by_default" {
			limit = "1000/s"
			key   = "domain"
			override "faster" { limit = "5000/s" }
			override "*.steady.com" { burst = 1 }
			override "both" {
				limit = "10/s"
				burst = 7
			}
		}
		rate "burst_is_set" {
			limit = "1000/s"
			burst = 3
			key   = "domain"
			override "faster" { limit = "5000/s" }
		}`)
	want := [][]RateOverride{{
		{Pattern: "faster", Limit: Rate{5000, time.Second}, Burst: 500},
		{Pattern: "*.steady.com", Limit: Rate{1000, time.Second}, Burst: 1},
		{Pattern: "both", Limit: Rate{10, time.Second}, Burst: 7},
	}, {
		{Pattern: "faster", Limit: Rate{5000, time.Second}, Burst: 3},
	}}
	if diff := cmp.Diff(want, [][]RateOverride{s.Rates[0].Overrides, s.Rates[1].Overrides}); diff != "" {
		t.Errorf("overrides differ (-want +got):\n%s", diff)
	}
	if s.Rates[0].Burst != 100 {
		t.Errorf("burst %d, want 100", s.Rates[0].Burst)
	}
}

func TestPatternsThatMatchNothingAreRefusedWithAHint(t *testing.T) {
	for pattern, want := range map[string]string{
		"*github.com":      "*.github.com",
		"**.github.com":    "*.github.com",
		"api.*.github.com": "*.github.com",
		"*.Sub.*.GITHUB.c": "*.github.c",
		"api.*":            "",
		"API.GitHub.com":   "api.github.com",
		" api.github.com ": "api.github.com",
		"*.GitHub.com":     "*.github.com",
	} {
		summary, _, hint := checkPattern(pattern)
		if summary != "Invalid pattern" || hint != want {
			t.Errorf("%q: %q with hint %q, want a fault with hint %q", pattern, summary, hint, want)
		}
		if again, _, _ := checkPattern(hint); hint != "" && again != "" {
			t.Errorf("%q: the hint %q is wrong itself", pattern, hint)
		}
	}
}

func TestBlocksWithAKeyMayBeRepeated(t *testing.T) {
	s := loadOne(t, `
		breaker {
			failures = 1
		}
		breaker {
			key      = "domain"
			failures = 2
		}
		breaker {
			open_for = "1s"
			key      = "root"
		}`)
	want := []Breaker{
		{Failures: 1, Within: 10 * time.Second, OpenFor: 5 * time.Second},
		{Key: "domain", Failures: 2, Within: 10 * time.Second, OpenFor: 5 * time.Second},
		{Key: "root", Failures: 10, Within: 10 * time.Second, OpenFor: time.Second},
	}
	if diff := cmp.Diff(want, s.Breakers); diff != "" {
		t.Errorf("breakers differ (-want +got):\n%s", diff)
	}
}

func TestZeroTurnsOffWhatMayBeOff(t *testing.T) {
	s := loadOne(t, `
		retry { budget = "0%" }
		restart {
			drain_timeout = "0s"
			stop_timeout  = "0s"
			crash_loop { exits = 0 }
		}
		health { every = "0s" }`)
	if s.Retry.Budget != 0 || s.Restart.DrainTimeout != 0 || s.Restart.StopTimeout != 0 || s.Restart.CrashLoop.Exits != 0 || s.Health.Every != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestSettingsAreEqualWhateverTheFilesLookLike(t *testing.T) {
	const lines = "rate \"r\" {\nlimit = \"1000/s\"\nkey = \"k\"\noverride \"x\" { burst = 5 }\n}\n"
	given := loadOne(t, lines)
	for name, tt := range map[string]struct {
		lines string
		want  bool
	}{
		"the same":             {lines, true},
		"defaults written out": {"# more\nlimits {\nqueue = 2000\n}\n" + strings.Replace(lines, "key", "burst = 100\nkey", 1), true},
		"another layout":       {"\n\nlimits {\n  queue = 2000\n}\n" + lines, true},
		"another plugin block": {lines + "config {\nx = 1\n}\n", true},
		"another burst":        {strings.Replace(lines, "5", "6", 1), false},
		"another limit":        {lines + "limits { memory = \"1GiB\" }\n", false},
		"one more breaker":     {lines + "breaker {\n}\n", false},
	} {
		if got := given.SettingsEqual(loadOne(t, tt.lines)); got != tt.want {
			t.Errorf("%s: SettingsEqual is %v, want %v", name, got, tt.want)
		}
	}
}
