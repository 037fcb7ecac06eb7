package supervisor

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

func TestALineIsUnderstoodAsItsWriterMeantIt(t *testing.T) {
	for line, want := range map[string]Entry{
		`{"@level":"warn","@message":"slow","@module":"pool","@timestamp":"2026-01-02T03:04:05Z","ms":12.5}`: {
			Level: hclog.Warn, Message: "slow", Fields: []Field{{"module", "pool"}, {"ms", "12.5"}},
		},
		`{"level":"ERROR","msg":"no luck","err":{"code":3}}`: {
			Level: hclog.Error, Message: "no luck", Fields: []Field{{"err", `{"code":3}`}},
		},
		`{"@message":"forged","@@message":"x","subsystem":"bank","pid":1}`: {
			Level: hclog.Info, Message: "forged", Fields: []Field{{"message", "x"}, {"plugin_pid", "1"}, {"plugin_subsystem", "bank"}},
		},
		`{"message":"zap or slog","time":"now"}`: {Level: hclog.Info, Message: "zap or slog"},
		`{"no":"message"}`:                       {Level: hclog.Info, Message: `{"no":"message"}`},
		`{"@message":"cut of`:                    {Level: hclog.Info, Message: `{"@message":"cut of`},
		"\x1b]0;title\a red \u202e":              {Level: hclog.Info, Message: "\uFFFD]0;title\uFFFD red \uFFFD"},
		`{"@message":"x\nforged"}`:               {Level: hclog.Info, Message: "x\uFFFDforged"},
		`[DEBUG] details`:                        {Level: hclog.Debug, Message: "details"},
		`[NOTE] nothing known`:                   {Level: hclog.Info, Message: "[NOTE] nothing known"},
		"bytes \xff\xfe":                         {Level: hclog.Info, Message: "bytes \uFFFD\uFFFD"},
		``:                                       {Level: hclog.Info},
	} {
		if diff := cmp.Diff(want, parseLine([]byte(line), false)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestAStackTraceIsAnErrorToItsEnd(t *testing.T) {
	book := NewBook[Entry]()
	o := newOutput(2, book, quiet())
	for _, line := range []string{"working", "panic: no more", "", "goroutine 1 [running]:", "main.main()"} {
		o.line(77, []byte(line))
	}
	entries, _, _ := book.Read(0)
	var got []hclog.Level
	for _, e := range entries {
		got = append(got, e.Level)
		if e.PID != 77 || e.Generation != 2 {
			t.Errorf("got entry %+v, want pid 77 and generation 2", e)
		}
	}
	want := []hclog.Level{hclog.Info, hclog.Error, hclog.Error, hclog.Error, hclog.Error}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
}

func TestAFloodIsCutToTheRateAndTheCutIsCounted(t *testing.T) {
	book := NewBook[Entry]()
	o := newOutput(1, book, quiet())
	now := time.Unix(0, 0)
	o.now = func() time.Time { return now }
	count := func(lines int) (passed int) {
		_, before, _ := book.Read(0)
		for range lines {
			o.line(1, []byte("x"))
		}
		_, after, _ := book.Read(0)
		return int(after - before)
	}
	const fit = outputBurst / (lineCost + 1)
	if got := count(fit + 500); got != fit {
		t.Errorf("of a burst: got %d lines, want %d", got, fit)
	}
	now = now.Add(time.Second)
	if got := count(1); got != 2 {
		t.Errorf("the first line after a cut: got %d entries, want it and one that says what was cut", got)
	}
	entries, _, _ := book.Read(book.Tail(2))
	if got, want := entries[0].Message, fmt.Sprintf("500 lines were dropped, limit %d bytes a second", outputRate); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := count(outputRate), outputRate/(lineCost+1)-1; got > want+1 || got < want-1 {
		t.Errorf("a second after a cut: got %d lines, want %d", got, want)
	}
}

func TestALogbookKeepsTheLastEntriesWithinItsBounds(t *testing.T) {
	b := NewBook[Entry]()
	_, next, changed := b.Read(0)
	if next != 0 {
		t.Fatalf("an empty book: got next %d, want 0", next)
	}
	for i := range bookRecords + 10 {
		b.Add(Entry{Message: fmt.Sprint(i)})
	}
	select {
	case <-changed:
	default:
		t.Error("a reader was not told of new entries")
	}
	entries, next, _ := b.Read(0)
	if len(entries) != bookRecords || entries[0].Message != "10" || next != bookRecords+10 {
		t.Errorf("got %d entries from %q, next %d; want %d from 10, next %d", len(entries), entries[0].Message, next, bookRecords, bookRecords+10)
	}
	if entries, _, _ := b.Read(b.Tail(3)); len(entries) != 3 || entries[2].Message != fmt.Sprint(bookRecords+9) {
		t.Errorf("a tail of 3: got %v", entries)
	}
	if entries, next, _ := b.Read(1 << 40); len(entries) != 0 || next != bookRecords+10 {
		t.Errorf("a read from beyond the end: got %d entries, next %d", len(entries), next)
	}
	for range 20 {
		b.Add(Entry{Message: strings.Repeat("x", bookBytes/8), Fields: []Field{{"k", "v"}}})
	}
	if entries, _, _ := b.Read(0); len(entries) > 8 {
		t.Errorf("got %d entries of %d bytes, want at most %d bytes in all", len(entries), bookBytes/8, bookBytes)
	}
}

func quiet() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: io.Discard}) }
