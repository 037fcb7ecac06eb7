package access

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// openLog opens a log until the end of the test, which counts what it drops.
func openLog(t *testing.T) (l *Log, dropped *atomic.Int64, said *syncBuffer) {
	t.Helper()
	dropped, said = new(atomic.Int64), new(syncBuffer)
	l = OpenLog(hclog.New(&hclog.LoggerOptions{Output: said}), func(n int) { dropped.Add(int64(n)) })
	t.Cleanup(l.Close)
	return l, dropped, said
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func call(method string) line {
	return line{Time: time.Now(), Client: "ci", Door: DoorHTTP, Method: method, Code: codes.OK}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestAllLinesAreInTheFileWhenTheLogIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l, dropped, _ := openLog(t)
	l.Use(mustOpen(t, path))
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 100 {
				l.add(call("/p.S/M"))
			}
		})
	}
	callers.Wait()
	l.Close()
	if got := len(lines(t, path)); got != 800 || dropped.Load() != 0 {
		t.Errorf("%d lines, and %d dropped, want 800", got, dropped.Load())
	}
	for _, line := range lines(t, path) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not JSON: %q", line)
		}
	}
}

func TestAFullDiskLosesLinesAndSaysSo(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no disk that is always full: %v", err)
	}
	l, dropped, said := openLog(t)
	l.Use(full)
	l.add(call("/p.S/M"))
	l.Close()
	if dropped.Load() != 1 || !strings.Contains(said.String(), "audit lines were lost: lines=1") {
		t.Errorf("%d lines dropped, and said: %s", dropped.Load(), said)
	}
}

func TestADiskThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	reader, writer, err := os.Pipe() // that nobody reads
	if err != nil {
		t.Fatal(err)
	}
	l, dropped, _ := openLog(t)
	l.Use(writer)
	const most = 2 * logRoom / 100 // a line has more than a hundred bytes
	for range most {
		l.add(call("/p.S/M"))
	}
	l.Close() // within logGrace
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.ended
	if n := dropped.Load(); n < most/4 || n > most {
		t.Errorf("%d of %d lines dropped", n, most)
	}
}

func TestALineThatWasTornIsEndedBeforeTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := mustOpen(t, path)
	if _, err := f.WriteString("{\"half"); err != nil {
		t.Fatal(err)
	}
	torn := true
	if lost, err := writeLines(f, []byte("{}\n"), &torn); lost != 0 || err != nil || torn {
		t.Errorf("%d lost, %v, torn %v", lost, err, torn)
	}
	if got := strings.Join(lines(t, path), "|"); got != "{\"half|{}" {
		t.Errorf("the file is %q", got)
	}
}

func TestTheFileIsWhatOnlyItsOwnerReads(t *testing.T) {
	dir := t.TempDir()
	f := mustOpen(t, filepath.Join(dir, "audit"))
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if _, err := OpenFile(dir); err == nil {
		t.Error("a folder was opened")
	}
	if _, err := OpenFile(filepath.Join(dir, "no", "such")); err == nil {
		t.Error("a file in no folder was opened")
	}
}

func TestStrangersDoNotFillTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l, _, _ := openLog(t)
	l.Use(mustOpen(t, path))
	now := time.Now()
	for range 1000 {
		l.strangers.next(now)
	}
	unlogged, ok := l.strangers.next(now.Add(time.Second))
	if !ok || unlogged != 1000-maxStrangers {
		t.Errorf("after a second: %d, %v, want %d", unlogged, ok, 1000-maxStrangers)
	}
}

func TestWhatACallerHasChosenCannotForgeALine(t *testing.T) {
	one := call("/p.S/M\n{\"client\":\"other\"}\x1b[31m" + strings.Repeat("x", 10_000))
	one.Key = []byte("\xff\x00\nkey")
	text := string(one.encode())
	if strings.Count(text, "\n") != 1 || strings.Contains(text, "\x1b") || len(text) > 1000 {
		t.Errorf("the line is %q", text)
	}
	for i, value := range one.pairs() {
		if s, ok := value.(string); ok && strings.ContainsAny(s, "\n\x1b\x00") {
			t.Errorf("the value %d is %q", i, s)
		}
	}
}
