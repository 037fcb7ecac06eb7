// Package lease has locks on paths that expire by themselves.
//
// A lock holds for its path and all that is below it. So two locks exclude each
// other if one path is the other, or is above it.
package lease

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNotHeld is of a token that opens no lock, perhaps because it has expired.
var ErrNotHeld = errors.New("no such lock")

// Lock is a right to change a path.
type Lock struct {
	Path    string    `json:"path"`
	Token   string    `json:"token"`
	Owner   string    `json:"owner,omitempty"`
	Expires time.Time `json:"expires"`
	Fence   uint64    `json:"fence"`
}

// Held says whose lock is in the way.
type Held struct {
	Lock Lock
}

// Error names the path, the owner and the end, and not the token.
func (e *Held) Error() string {
	owner := ""
	if e.Lock.Owner != "" {
		owner = fmt.Sprintf(" by %.100q", e.Lock.Owner)
	}
	return fmt.Sprintf("%q is locked%s until %s", e.Lock.Path, owner, e.Lock.Expires.UTC().Format(time.RFC3339Nano))
}

// State is all of a table, to be stored.
type State struct {
	Fence uint64 `json:"fence"` // of the latest lock
	Locks []Lock `json:"locks"` // sorted by path
}

// Table is the locks of a tree. It is safe for concurrent use.
type Table struct {
	mu      sync.Mutex
	fence   uint64
	locks   map[string]Lock // by path
	changed chan struct{}   // closed when a lock is given back; then there is another one
}

// NewTable returns a table with what was stored of one.
func NewTable(s State) *Table {
	t := &Table{fence: s.Fence, locks: map[string]Lock{}, changed: make(chan struct{})}
	for _, l := range s.Locks {
		t.locks[l.Path] = l
	}
	return t
}

// State is what is to be stored: locks that have not expired.
func (t *Table) State(now time.Time) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	s := State{Fence: t.fence, Locks: slices.Collect(maps.Values(t.locks))}
	slices.SortFunc(s.Locks, func(a, b Lock) int { return cmp.Compare(a.Path, b.Path) })
	return s
}

// MaxLocks is how many locks there are at most at a time: who wants more has
// forgotten to give some back.
const MaxLocks = 10_000

// ErrTooMany is of a lock beyond MaxLocks.
var ErrTooMany = errors.New("too many locks")

// Grant locks a path, or fails with *Held or ErrTooMany. Fences are microseconds of the clock
// where that is more than the fence before and one: they grow even if the state
// is lost with the machine's power.
func (t *Table) Grant(path, owner string, ttl time.Duration, now time.Time) (Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if other, ok := t.conflict(path, "", true, now); ok {
		return Lock{}, &Held{other}
	}
	if len(t.locks) >= MaxLocks {
		return Lock{}, ErrTooMany
	}
	t.fence = max(t.fence+1, uint64(max(now.UnixMicro(), 0)))
	l := Lock{Path: path, Token: rand.Text(), Owner: owner, Expires: now.Add(ttl), Fence: t.fence}
	t.locks[path] = l
	return l, nil
}

// Renew lets a lock hold until ttl from now, or fails with ErrNotHeld.
func (t *Table) Renew(path, token string, ttl time.Duration, now time.Time) (Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	l, ok := t.locks[path]
	if !ok || l.Token != token {
		return Lock{}, ErrNotHeld
	}
	l.Expires = now.Add(ttl)
	t.locks[path] = l
	return l, nil
}

// Release gives a lock back, or fails with ErrNotHeld.
func (t *Table) Release(path, token string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if l, ok := t.locks[path]; !ok || l.Token != token {
		return ErrNotHeld
	}
	delete(t.locks, path)
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// Check fails with *Held if the path may not be changed by who has the token.
// With below, locks on what is below the path count, too: who moves or removes a
// directory changes all that is in it. A token of no lock there fails with
// ErrNotHeld: its holder is late, and somebody else may have changed the path since.
func (t *Table) Check(path, token string, below bool, now time.Time) error {
	if err := t.Enter(path, token, below, now); err != nil || token == "" {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.locks {
		if l.Token == token && now.Before(l.Expires) && (covers(l.Path, path) || below && covers(path, l.Path)) {
			return nil
		}
	}
	return ErrNotHeld
}

// Enter is Check for a directory on the way to the path that the token is for.
func (t *Table) Enter(path, token string, below bool, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.locks) == 0 {
		return nil
	}
	if l, ok := t.conflict(path, token, below, now); ok {
		return &Held{l}
	}
	return nil
}

// Changed is closed when a lock has been given back after the call. Who waits
// for one that expires looks at its time.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Len is how many locks there are.
func (t *Table) Len(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	return len(t.locks)
}

// conflict finds a lock that is in the way of who has token.
func (t *Table) conflict(path, token string, below bool, now time.Time) (Lock, bool) {
	inTheWay := func(l Lock) bool { return l.Token != token && now.Before(l.Expires) }
	for at := path; ; {
		if l, ok := t.locks[at]; ok && inTheWay(l) {
			return l, true
		}
		if at == "." {
			break
		}
		at = at[:max(strings.LastIndexByte(at, '/'), 0)]
		if at == "" {
			at = "."
		}
	}
	if below {
		for _, l := range t.locks {
			if covers(path, l.Path) && inTheWay(l) {
				return l, true
			}
		}
	}
	return Lock{}, false
}

// covers reports whether path is dir or below it.
func covers(dir, path string) bool {
	return dir == "." || strings.HasPrefix(path, dir) && (len(path) == len(dir) || path[len(dir)] == '/')
}

func (t *Table) expire(now time.Time) {
	maps.DeleteFunc(t.locks, func(_ string, l Lock) bool { return !now.Before(l.Expires) })
}
