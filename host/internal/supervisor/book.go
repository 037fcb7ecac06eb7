package supervisor

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// bookRecords and bookBytes bound what a book keeps.
	bookRecords = 1000
	bookBytes   = 1 << 20
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

// Size is that of the texts.
func (e Entry) Size() int {
	size := len(e.Message)
	for _, f := range e.Fields {
		size += len(f.Key) + len(f.Value)
	}
	return size
}

// Event is one thing that happened to a subsystem or to the host.
type Event struct {
	Time       time.Time
	Subsystem  string // "" for the host
	Generation uint64 // of the instance; 0 for none
	PID        int    // 0 for none
	Kind       string // as gaia.host.v1.EventsResponse lists them
	Reason     string // one line; may be ""
}

// Size is that of the text.
func (e Event) Size() int { return len(e.Reason) }

// Record is what a book holds.
type Record interface {
	// Size is about how many bytes the record takes.
	Size() int
}

// Book keeps the last records of a kind: 1,000, and about 1 MiB. Safe for
// concurrent use; a slow reader delays nobody and sees a gap.
type Book[R Record] struct {
	mu      sync.Mutex
	records []R    // oldest first
	first   uint64 // number of records[0], counted from the start of the host
	bytes   int
	changed chan struct{} // closed and replaced when a record is added
}

// NewBook returns an empty book.
func NewBook[R Record]() *Book[R] { return &Book[R]{changed: make(chan struct{})} }

// Add appends a record.
func (b *Book[R]) Add(r R) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, r)
	b.bytes += r.Size()
	for len(b.records) > bookRecords || (b.bytes > bookBytes && len(b.records) > 1) {
		b.bytes -= b.records[0].Size()
		clear(b.records[:1]) // the array may live on
		b.records = b.records[1:]
		b.first++
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Read returns the records from number from on, the number of the one to come,
// and a channel that is closed when it has come. A number before the oldest
// record reads from the oldest.
func (b *Book[R]) Read(from uint64) (records []R, next uint64, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = b.first + uint64(len(b.records))
	from = min(max(from, b.first), next)
	return append(records, b.records[from-b.first:]...), next, b.changed
}

// Tail returns the number from which on the last n records are read; 0 means
// all.
func (b *Book[R]) Tail(n int) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n <= 0 || n >= len(b.records) {
		return b.first
	}
	return b.first + uint64(len(b.records)) - uint64(n)
}
