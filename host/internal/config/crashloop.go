package config

import "time"

// CrashLoop says when instances end too often, and what happens then.
type CrashLoop struct {
	Exits  int           // so many within Within are a crash loop; 0 for never
	Within time.Duration // above zero
	Then   Then
}

// Then is what becomes of a subsystem in a crash loop.
type Then string

// What becomes of a subsystem in a crash loop.
const (
	ThenQuarantine Then = "quarantine" // trial restarts, far apart
	ThenDisable    Then = "disable"    // no restart until an operator asks for one
)

func defaultCrashLoop() CrashLoop {
	return CrashLoop{Exits: 5, Within: 5 * time.Minute, Then: ThenQuarantine}
}

func (c *CrashLoop) table() table {
	return table{
		name: "crash_loop",
		doc:  "When instances end too often, and what happens then.",
		arguments: []argument{
			{name: "exits", doc: "Exits that are a crash loop; 0 never sees one.", target: intAt{&c.Exits, 0, 1000}},
			{name: "within", doc: "Time in which these exits fall.", target: durationAt{p: &c.Within, low: time.Second, high: 24 * time.Hour}},
			{name: "then", doc: "Quarantine refuses calls and tries a restart now and then; disable waits for `gaia restart`.", target: wordAt[Then]{&c.Then, []Then{ThenQuarantine, ThenDisable}}},
		},
	}
}
