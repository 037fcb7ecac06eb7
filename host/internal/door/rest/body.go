package rest

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
)

// body is the body of a request, of which one goroutine reads.
type body struct {
	reader  io.Reader
	control *http.ResponseController
	share   *bodies.Share // holds what was read of a message, and what was made of that
	ended   atomic.Bool   // all was read
	stopped atomic.Bool
	err     error     // the last one, but for io.EOF
	until   time.Time // when all of it has to be there; zero for no such time
}

// errStopped is of a body that nobody wants any more.
var errStopped = errors.New("the call has ended")

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.stopped.Load() && !b.ended.Load() {
		return 0, errStopped
	}
	n, err := b.reader.Read(p)
	if full := b.share.Add(n); full != nil {
		n, err = 0, full
	}
	switch {
	case errors.Is(err, io.EOF) && !b.ended.Swap(true):
		_ = b.control.SetReadDeadline(time.Time{}) // the server now waits there for the caller to leave
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	}
	return n, err
}

// expect bounds the time that all of the body may take.
func (b *body) expect(patience time.Duration) {
	if !b.ended.Load() {
		b.until = time.Now().Add(patience)
		_ = b.control.SetReadDeadline(b.until) // a server without deadlines has bodies that do not wait
	}
}

// isLate reports whether the time is over that expect gave.
func (b *body) isLate() bool { return !b.until.IsZero() && !time.Now().Before(b.until) }

func (b *body) failed() error { return b.err }

// stop makes a Read that is under way return soon, and those that come. It is
// called from any goroutine. A connection whose request was read to its end
// stays as it is: it is used again.
func (b *body) stop() {
	b.stopped.Store(true)
	if !b.ended.Load() {
		_ = b.control.SetReadDeadline(time.Unix(1, 0)) // where that cannot be done, a body does not wait
	}
}
