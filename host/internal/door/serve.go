package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	// bodyTimeout is how long a body may take that nobody has asked for.
	bodyTimeout = 5 * time.Second
	// pageTimeout is how long it may take to make a page and to send it.
	pageTimeout = time.Minute
	// lastWords is how long those that were cancelled then have to say so, and
	// their callers to read it.
	lastWords = 2 * time.Second
)

// Serve answers on lis, which it closes, until ctx ends. Then it refuses new
// requests, waits for those under way, and cancels what is left after the
// grace. When it returns no handler runs; it returns nil when it ended because
// of ctx. A Server serves once.
//
// There is no bound on the time of a call: a stream may last for days. Handlers
// of calls bound the time of what they read.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	calls, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCalls()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC's
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         &protocols,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ErrorLog:          s.config.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(netutil.LimitListener(lis, maxConnections())) }()
	var err error
	select {
	case err = <-served: // the listener is broken
	case <-ctx.Done():
	}
	if !s.stop(server, cancelCalls) {
		return errors.New("http: a call does not end although it was cancelled; it is left behind")
	}
	if err == nil {
		err = <-served
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// maxConnections is how many connections there may be: half of the descriptors
// that the process may have, because plugins are started with the others. Whoever
// comes then waits in the queue of the system.
func maxConnections() int {
	var descriptors syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
		return maxCalls // never: the pointer is good
	}
	return int(min(descriptors.Cur/2, maxCalls))
}

// stop ends the server, by force after the grace. It reports whether all
// handlers have returned, which they do unless one hangs outside its context.
func (s *Server) stop(server *http.Server, cancelCalls func()) bool {
	close(s.leaving)
	finished := s.visitors.leave()
	// Idle connections are closed now, the others after their last answer.
	patience, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = server.Shutdown(patience)
	}()
	if !await(finished, s.config.Grace()) {
		cancelCalls()
		await(finished, lastWords)
	}
	await(closed, lastWords) // who reads their last answer slowly gets no more
	giveUp()
	<-closed
	_ = server.Close() // of what is broken now
	return await(finished, lastWords)
}

// await reports whether something was done in time.
func await(done <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// visitors are the requests under way. The zero value has none.
type visitors struct {
	mu     sync.Mutex // not a WaitGroup: who comes after the last one is refused
	inside int
	gone   chan struct{} // not nil: nobody is let in; closed when the last one has left
}

// count lets requests in until leave.
func (v *visitors) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !v.enter() {
			refuse(w, r, status.Error(codes.Unavailable, "the host is about to end"))
			return
		}
		defer v.exit()
		next.ServeHTTP(w, r)
	})
}

func (v *visitors) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone != nil {
		return false
	}
	v.inside++
	return true
}

func (v *visitors) exit() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inside--; v.inside == 0 && v.gone != nil {
		close(v.gone)
	}
}

// leave lets nobody in any more. What it returns is closed when the last one
// has left.
func (v *visitors) leave() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = make(chan struct{})
	if v.inside == 0 {
		close(v.gone)
	}
	return v.gone
}
