// Package still ends exchanges whose bodies stand still. A server that sends a
// byte now and then is slow, which the deadline of the call bounds; one that
// sends nothing may be gone, and holds a connection and a caller.
package still

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"google.golang.org/grpc/codes"
)

// small bodies of requests fit into the buffers of a connection. They are not
// watched: that nobody takes them shows as a response that does not come.
const small = 64 << 10

// Watcher is a RoundTripper that bounds how long a body makes no progress: that
// of the request until the response begins, then that of the response.
type Watcher struct {
	Next  http.RoundTripper
	Limit time.Duration // above 0
}

// RoundTrip sends request. That a body stood still is a *call.Failure, of
// RoundTrip or of reading the response's body.
func (w *Watcher) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	watch := &watch{limit: w.Limit, cancel: cancel}
	if request.Body != nil && request.Body != http.NoBody && (request.ContentLength <= 0 || request.ContentLength > small) {
		request = request.WithContext(watch.connection(ctx))
		watch.over(request)
	} else {
		request = request.WithContext(ctx)
	}
	response, err := w.Next.RoundTrip(request)
	watch.begin()
	if err != nil {
		cancel(nil)
		return nil, watch.cause(err)
	}
	if response.Body == http.NoBody {
		cancel(nil)
		return response, nil
	}
	response.Body = &download{ReadCloser: response.Body, watch: watch}
	return response, nil
}

// watch is the clock of one exchange. It runs while a body is awaited.
type watch struct {
	limit  time.Duration
	cancel context.CancelCauseFunc // of the exchange

	mu      sync.Mutex
	timer   *time.Timer // nil before the first start
	what    string      // is awaited
	begun   bool        // the response: the request's body counts no more
	stalled *call.Failure
	body    io.Closer // of the request, while it is watched
	lost    bool      // the connection is closed
}

// start lets the clock run from the beginning. what is what to say when it has
// run down. mu is held.
func (w *watch) start(what string) {
	w.what = what
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.expire)
	} else {
		w.timer.Reset(w.limit)
	}
}

// stop stops the clock. mu is held.
func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) expire() {
	w.mu.Lock()
	failure := &call.Failure{Code: codes.DeadlineExceeded, Text: fmt.Sprintf("%s for %v (body_timeout)", w.what, w.limit)}
	w.stalled = failure
	body := w.body
	w.mu.Unlock()
	w.cancel(failure)
	if body != nil {
		_ = body.Close() // net/http does not return before a Read of it has
	}
}

// begin notes that the response has begun, or will not.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = true
	w.body = nil
	w.stop()
}

// cause is why err came about.
func (w *watch) cause(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stalled != nil {
		return w.stalled
	}
	return err
}

// connection returns a context in which the end of the connection ends a Read of
// the request's body. Over HTTP/1, net/http does not report a server that has
// gone before such a Read returns, which may be when the caller has more to send.
func (w *watch) connection(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn := info.Conn
		for {
			secure, is := conn.(*tls.Conn)
			if !is {
				break
			}
			conn = secure.NetConn()
		}
		if socket, is := conn.(interface{ OnClose(func()) }); is {
			socket.OnClose(w.lose)
		}
	}})
}

func (w *watch) lose() {
	w.mu.Lock()
	w.lost = true
	body := w.body
	w.mu.Unlock()
	if body != nil {
		_ = body.Close()
	}
}

// over watches the body of request, and its repetitions on other connections.
func (w *watch) over(request *http.Request) {
	w.body = request.Body
	request.Body = &upload{ReadCloser: request.Body, watch: w}
	if again := request.GetBody; again != nil {
		request.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			return &upload{ReadCloser: body, watch: w}, nil
		}
	}
}

// sent moves the clock of the request's body, unless the response has begun;
// nothing is awaited any more if what is "".
func (w *watch) sent(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.begun:
	case what == "":
		w.stop()
	default:
		w.start(what)
	}
}

func (w *watch) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// upload is the body of a request. While it is not being read, the server does
// not take what was read before.
type upload struct {
	io.ReadCloser

	watch *watch
}

func (u *upload) Read(p []byte) (int, error) {
	u.watch.sent("the caller sent nothing of the request's body")
	n, err := u.ReadCloser.Read(p)
	if err == nil {
		u.watch.sent("the server took nothing of the request's body")
		return n, nil
	}
	if u.watch.sent(""); u.watch.gone() {
		return n, io.ErrUnexpectedEOF // net/http passes it on: the connection has ended
	}
	return n, err
}

// Close closes the body, of which nobody wants more.
func (u *upload) Close() error {
	u.watch.sent("")
	return u.ReadCloser.Close()
}

// download is the body of a response.
type download struct {
	io.ReadCloser

	watch *watch
}

func (d *download) Read(p []byte) (int, error) {
	d.watch.received(true)
	n, err := d.ReadCloser.Read(p)
	d.watch.received(false)
	if err == nil || err == io.EOF { // bare: a wrapped one is not the end of a body
		return n, err
	}
	return n, d.watch.cause(err)
}

// received moves the clock of the response's body.
func (w *watch) received(awaited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if awaited {
		w.start("the server sent nothing of the body")
	} else {
		w.stop()
	}
}

// Close closes the body and ends the exchange.
func (d *download) Close() error {
	err := d.ReadCloser.Close()
	d.watch.received(false)
	d.watch.cancel(nil)
	return err
}
