package supervisor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

const (
	// outputRate and outputBurst bound what one instance may log, in bytes. A
	// plugin that floods its output must cost neither the disk nor the other
	// logs.
	outputRate  = 256 << 10 // a second
	outputBurst = 1 << 20   // at once
	// lineCost is what a line costs beside its bytes: time, level, names.
	lineCost = 100
	// noteEvery is the least time between two notes on dropped lines.
	noteEvery = time.Second
)

// output turns the lines of one instance into entries of the logbook and of
// the host's log. Safe for concurrent use.
type output struct {
	generation uint64
	book       *Book[Entry]
	logger     hclog.Logger // has subsystem and generation
	now        func() time.Time

	mu      sync.Mutex
	tokens  float64 // bytes that may be logged now
	filled  time.Time
	dropped int       // lines since the last note
	noted   time.Time // when the last note was made
	panics  bool      // the rest is a stack trace
}

func newOutput(generation uint64, book *Book[Entry], logger hclog.Logger) *output {
	return &output{generation: generation, book: book, logger: logger, now: time.Now, tokens: outputBurst}
}

// line takes one line without its end. The bytes are not kept.
func (o *output) line(pid int, line []byte) {
	now := o.now()
	o.mu.Lock()
	ok, dropped := o.admit(len(line)+lineCost, now)
	inPanic := o.panics
	if ok {
		o.panics = inPanic || isPanic(line)
		inPanic = o.panics
	}
	o.mu.Unlock()
	if !ok {
		return
	}
	if dropped > 0 {
		o.add(Entry{Level: hclog.Warn, Time: now, PID: pid, Message: fmt.Sprintf("%d lines were dropped, limit %d bytes a second", dropped, outputRate)})
	}
	e := parseLine(line, inPanic)
	e.Time, e.PID = now, pid
	o.add(e)
}

// admit pays for a line, if there is enough for it, and now and then reports
// how many lines were dropped since it last did.
func (o *output) admit(cost int, now time.Time) (ok bool, dropped int) {
	if !o.filled.IsZero() {
		o.tokens = min(outputBurst, o.tokens+now.Sub(o.filled).Seconds()*outputRate)
	}
	o.filled = now
	if o.tokens < float64(cost) {
		o.dropped++
		return false, 0
	}
	o.tokens -= float64(cost)
	if o.dropped > 0 && now.Sub(o.noted) >= noteEvery {
		dropped, o.dropped, o.noted = o.dropped, 0, now
	}
	return true, dropped
}

func (o *output) add(e Entry) {
	e.Generation = o.generation
	o.book.Add(e)
	args := []any{"pid", e.PID}
	for _, f := range e.Fields {
		args = append(args, f.Key, f.Value)
	}
	o.logger.Log(e.Level, e.Message, args...)
}

// isPanic reports whether a line begins the Go runtime's last words.
func isPanic(line []byte) bool {
	s := string(line)
	return strings.HasPrefix(s, "panic: ") || strings.HasPrefix(s, "fatal error: ") || strings.HasPrefix(s, "SIGQUIT: ")
}

// parseLine understands JSON lines of hclog, and of other loggers that say
// level and message in the usual words; everything else is text.
func parseLine(line []byte, inPanic bool) Entry {
	if len(line) > 0 && line[0] == '{' {
		var values map[string]any
		if json.Unmarshal(line, &values) == nil {
			if e, ok := parseStructured(values); ok {
				return e
			}
		}
	}
	e := Entry{Level: hclog.Info, Message: printable(string(line))}
	if inPanic {
		e.Level = hclog.Error
	} else if level, rest, ok := levelPrefix(e.Message); ok {
		e.Level, e.Message = level, rest
	}
	return e
}

// printable replaces what is not text: a line break could forge a line of the
// host's log, an escape sequence could steer the operator's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// levelPrefix splits "[WARN] text", as Go's log package users write it.
func levelPrefix(s string) (level hclog.Level, rest string, ok bool) {
	word, rest, found := strings.Cut(s, "]")
	if !found || !strings.HasPrefix(word, "[") {
		return 0, "", false
	}
	level = hclog.LevelFromString(word[1:])
	if level == hclog.NoLevel {
		return 0, "", false
	}
	return level, strings.TrimSpace(rest), true
}

// parseStructured takes level and message out of values; the rest are fields.
func parseStructured(values map[string]any) (Entry, bool) {
	message, ok := take(values, "@message", "message", "msg")
	if !ok {
		return Entry{}, false
	}
	level, _ := take(values, "@level", "level", "severity")
	_, _ = take(values, "@timestamp", "timestamp", "time", "ts") // the host has its own
	e := Entry{Level: hclog.LevelFromString(level), Message: printable(message)}
	if e.Level == hclog.NoLevel {
		e.Level = hclog.Info
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e.Fields = append(e.Fields, Field{Key: fieldKey(key), Value: text(values[key])})
	}
	return e, true
}

// fieldKey keeps a plugin's field from passing for one of the host's.
func fieldKey(key string) string {
	key = printable(strings.TrimLeft(key, "@"))
	switch key {
	case "subsystem", "generation", "pid":
		return "plugin_" + key
	}
	return key
}

// take removes the first of the keys that there is.
func take(values map[string]any, keys ...string) (string, bool) {
	for _, key := range keys {
		if v, ok := values[key]; ok {
			delete(values, key)
			return text(v), true
		}
	}
	return "", false
}

// text is a JSON value as people read it.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v) // cannot be: it came from JSON
	}
	return string(b)
}
