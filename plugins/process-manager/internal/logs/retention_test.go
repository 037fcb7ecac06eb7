package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// usedSpace is the size of all files of a store.
func usedSpace(t *testing.T, s *Store) int64 {
	t.Helper()
	_, total := s.files()
	return total
}

func TestALogKeepsItsMaxSize(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	l := openLog(t, s, Policy{SegmentSize: 1000, MaxSize: 5000})
	for range 1000 {
		write(t, l, strings.Repeat("x", 99)+"\n")
		if start, end, _ := l.Bounds(); end-start > 5000 {
			t.Fatalf("%d bytes", end-start)
		}
	}
	if start, end, _ := l.Bounds(); end != 100_000 || end-start < 4000 {
		t.Errorf("bounds %d, %d", start, end)
	}
}

func TestAnOldSegmentIsFollowedByANewOne(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentAge: time.Nanosecond})
	write(t, l, "one")
	<-time.After(indexGap)
	write(t, l, "two")
	if starts, err := listSegments(l.dir); err != nil || len(starts) != 2 || starts[1] != 3 {
		t.Errorf("segments %d, %v", starts, err)
	}
}

func TestWhatIsTooOldIsDeletedWhileNothingIsWritten(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 5, MaxAge: 50 * time.Millisecond})
	write(t, l, "some lines")
	waitFor(t, "the end of what is old", func() bool { start, end, _ := l.Bounds(); return start == 10 && end == 10 })
	write(t, l, "new")
	if got, first := read(t, l, From{}); got != "new" || first.Missing != 10 {
		t.Errorf("read %q, %d missing", got, first.Missing)
	}
}

func TestAllLogsTogetherKeepTheMaxSizeOfTheStore(t *testing.T) {
	const most = 1 << 20
	s := NewStore(t.TempDir(), most)
	var logs []*Log
	for _, name := range []string{"a", "b", "c"} {
		l, err := s.Open(name, Policy{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		logs = append(logs, l)
	}
	line := strings.Repeat("x", 999) + "\n"
	write(t, logs[0], strings.Repeat(line, 100))
	for range 5000 {
		write(t, logs[1], line)
		write(t, logs[2], line)
	}
	if used := usedSpace(t, s); used > most || used < most/2 {
		t.Errorf("%d bytes are used", used)
	}
	for i, l := range logs {
		start, end, _ := l.Bounds()
		got, first := read(t, l, From{})
		if int64(len(got)) != end-start || first.Missing != start {
			t.Errorf("log %d has %d bytes of %d to %d, %d missing", i, len(got), start, end, first.Missing)
		}
	}
}

// TestAClosedLogGivesWay but keeps its end: offsets never begin again.
func TestAClosedLogGivesWay(t *testing.T) {
	const most = 1 << 20
	s := NewStore(t.TempDir(), most)
	for _, name := range []string{"a", "b", "c", "d"} {
		l, err := s.Open(name, Policy{SegmentSize: most})
		if err != nil {
			t.Fatal(err)
		}
		write(t, l, strings.Repeat("x", 500_000))
		l.Close()
	}
	if used := usedSpace(t, s); used > most {
		t.Errorf("%d bytes are used", used)
	}
	l, err := s.Open("a", Policy{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if start, end, _ := l.Bounds(); start != 500_000 || end != 500_000 {
		t.Errorf("a log of which nothing is left has %d to %d", start, end)
	}
}

func TestAStoreCountsWhatWasThereBefore(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, segmentName(7)), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(dir, 1<<19)
	l := openLog(t, s, Policy{})
	write(t, l, "a line\n")
	if used := usedSpace(t, s); used > 1<<19 {
		t.Errorf("%d bytes are used", used)
	}
}

func TestTheMaxSizeOfAStoreMayChange(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	l := openLog(t, s, Policy{SegmentSize: 10_000})
	write(t, l, strings.Repeat("x", 95_000))
	s.SetMaxSize(50_000)
	write(t, l, "a line\n")
	if used := usedSpace(t, s); used > 50_000 {
		t.Errorf("%d bytes are used", used)
	}
}
