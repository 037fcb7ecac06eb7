package supervisor

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// bookLines and bookBytes bound what is kept of a subsystem's log.
	bookLines = 1000
	bookBytes = 1 << 20
)

// Entry is one line that an instance logged or wrote.
type Entry struct {
	Time       time.Time
	Level      hclog.Level
	Generation uint64
	PID        int
	Message    string
	Fields     []Field // in the order of their names; may be nil
}

// Field is one structured value of an entry.
type Field struct{ Key, Value string }

func (e *Entry) size() int {
	size := len(e.Message)
	for _, f := range e.Fields {
		size += len(f.Key) + len(f.Value)
	}
	return size
}

// Logbook keeps the last entries of one subsystem: 1,000, and about 1 MiB.
// Safe for concurrent use; a slow reader delays nobody and sees a gap.
type Logbook struct {
	mu      sync.Mutex
	entries []Entry // oldest first
	first   uint64  // number of entries[0], counted from the start of the host
	bytes   int
	changed chan struct{} // closed and replaced when an entry is added
}

// NewLogbook returns an empty book.
func NewLogbook() *Logbook { return &Logbook{changed: make(chan struct{})} }

// Add appends an entry.
func (b *Logbook) Add(e Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	b.bytes += e.size()
	for len(b.entries) > bookLines || (b.bytes > bookBytes && len(b.entries) > 1) {
		b.bytes -= b.entries[0].size()
		b.entries[0] = Entry{} // the array may live on
		b.entries = b.entries[1:]
		b.first++
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Read returns the entries from number from on, the number of the one to come,
// and a channel that is closed when it has come. A number before the oldest
// entry reads from the oldest.
func (b *Logbook) Read(from uint64) (entries []Entry, next uint64, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = b.first + uint64(len(b.entries))
	from = min(max(from, b.first), next)
	return append(entries, b.entries[from-b.first:]...), next, b.changed
}

// Tail returns the number from which on the last n entries are read; 0 means
// all.
func (b *Logbook) Tail(n int) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n <= 0 || n >= len(b.entries) {
		return b.first
	}
	return b.first + uint64(len(b.entries)) - uint64(n)
}
