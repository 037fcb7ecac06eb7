// Package quota counts the bytes of a tree of files and keeps them below a
// bound: what is going to be written is reserved first, so that all who write at
// once stay below it together.
package quota

import (
	"fmt"
	"sync"
)

// Exceeded says that bytes do not fit in.
type Exceeded struct {
	Wanted, Used, Limit int64 // bytes; Used includes what others have reserved
}

// Error has all the numbers.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("%d more bytes over %d that are used or reserved, limit %d (quota)", e.Wanted, e.Used, e.Limit)
}

// Account is what a tree has. It is safe for concurrent use; without a limit it
// counts and refuses nothing.
type Account struct {
	limit int64 // 0 for no bound

	mu       sync.Mutex
	used     int64
	files    int64
	reserved int64
}

// NewAccount returns an account of nothing yet. A limit of 0 is no bound.
func NewAccount(limit int64) *Account { return &Account{limit: limit} }

// Set tells what a count of the whole tree has found.
func (a *Account) Set(used, files int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used, a.files = used, files
}

// Used is the bytes and the number of the files.
func (a *Account) Used() (used, files int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used, a.files
}

// Add counts what has happened without a reservation: what was removed, or
// appears in the tree from elsewhere.
func (a *Account) Add(bytes, files int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(bytes, files)
}

// add never goes below zero: who removes what another program has added would.
func (a *Account) add(bytes, files int64) {
	a.used, a.files = max(a.used+bytes, 0), max(a.files+files, 0)
}

// Reserve returns an empty reservation. The caller ends it with Settle or
// Release.
func (a *Account) Reserve() *Reservation { return &Reservation{account: a} }

// Reservation is bytes that are going to be written. It belongs to one
// goroutine.
type Reservation struct {
	account *Account
	bytes   int64
}

// Cover makes sure that the reservation has at least this many bytes. The error
// is *Exceeded, and then it has as many as before.
func (r *Reservation) Cover(bytes int64) error {
	a := r.account
	more := bytes - r.bytes
	if more <= 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if taken := a.used + a.reserved; a.limit > 0 && more > a.limit-taken {
		return &Exceeded{Wanted: more, Used: taken, Limit: a.limit}
	}
	a.reserved += more
	r.bytes = bytes
	return nil
}

// Settle ends the reservation: the tree has so many bytes and files more, or
// fewer.
func (r *Reservation) Settle(bytes, files int64) {
	a := r.account
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved -= r.bytes
	r.bytes = 0
	a.add(bytes, files)
}

// Release ends the reservation: nothing was written. Once settled, it does
// nothing.
func (r *Reservation) Release() { r.Settle(0, 0) }
