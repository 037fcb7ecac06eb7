package access

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
)

const (
	// maxShown bounds in bytes what a line of the audit log shows of what a caller
	// has chosen.
	maxShown = 256
	// maxStrangers is how many lines per second are written of calls that nobody
	// knows who made: whoever guesses tokens must not fill the disk, nor push the
	// lines of others out of the queue.
	maxStrangers = 20
)

// line is one line of the audit log: a call that has ended.
type line struct {
	Time      time.Time // when it came
	Client    string    // "" if nobody knows
	Door      string
	Peer      string
	Subsystem string
	Method    string
	Key       []byte
	Code      codes.Code
	Took      time.Duration
	Unlogged  int // lines like this one that were left out since the last
}

// record is a line as it is written.
type record struct {
	Time      string  `json:"time"`
	Client    string  `json:"client,omitempty"`
	Door      string  `json:"door"`
	Peer      string  `json:"peer,omitempty"`
	Subsystem string  `json:"subsystem,omitempty"`
	Method    string  `json:"method"`
	Key       string  `json:"key,omitempty"`
	Code      string  `json:"code"`
	Seconds   float64 `json:"seconds"`
	Unlogged  int     `json:"unlogged,omitempty"`
}

func (l *line) record() record {
	return record{
		Time: l.Time.UTC().Format(time.RFC3339Nano), Client: l.Client, Door: l.Door, Peer: l.Peer,
		Subsystem: l.Subsystem, Method: shown(strings.TrimPrefix(l.Method, "/")), Key: shown(string(l.Key)),
		Code: l.Code.String(), Seconds: l.Took.Seconds(), Unlogged: l.Unlogged,
	}
}

// encode is the line as JSON, with a line break.
func (l *line) encode() []byte {
	text, err := json.Marshal(l.record())
	if err != nil {
		return nil // cannot be: it is text and numbers
	}
	return append(text, '\n')
}

// pairs are the line for the host's log.
func (l *line) pairs() []any {
	r := l.record()
	pairs := []any{"door", r.Door, "peer", r.Peer, "method", r.Method, "code", r.Code, "seconds", r.Seconds}
	for _, p := range []struct{ key, value string }{{"client", r.Client}, {"subsystem", r.Subsystem}, {"key", r.Key}} {
		if p.value != "" {
			pairs = append(pairs, p.key, p.value)
		}
	}
	if r.Unlogged > 0 {
		pairs = append(pairs, "unlogged", r.Unlogged)
	}
	return pairs
}

// shown is what a line shows of text that a caller has chosen: bounded, and
// nothing that a terminal would obey or that looks like another line.
func shown(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxShown)], "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// strangers bounds the lines of calls that nobody knows who made. Guarded by
// Log.mu.
type strangers struct {
	second   int64
	count    int
	unlogged int
}

// next reports whether there is to be a line at now, and how many there were
// not since the last.
func (s *strangers) next(now time.Time) (unlogged int, ok bool) {
	if second := now.Unix(); second != s.second {
		s.second, s.count = second, 0
	}
	if s.count++; s.count > maxStrangers {
		s.unlogged++
		return 0, false
	}
	unlogged, s.unlogged = s.unlogged, 0
	return unlogged, true
}
