package link_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endings are the ways in which the server's end of a connection may go.
func endings() map[string]func(ends cable) error {
	return map[string]func(cable) error{
		"is closed":      func(ends cable) error { return ends.server.Close() },
		"writes no more": func(ends cable) error { return ends.server.CloseWrite() },
		"reads no more":  func(ends cable) error { return ends.server.CloseRead() },
	}
}

func TestEachCallInFlightIsUnavailableWhenTheServer(t *testing.T) {
	overEach(t, func(t arena) {
		for name, end := range endings() {
			t.run(name, func(t arena) {
				const calls = 1000
				var faults tally
				var results atomic.Int64
				conn, _, finished := callsInside(t, calls, func(err error) {
					results.Add(1)
					if status.Code(err) != codes.Unavailable {
						faults.add("got %v, want Unavailable", err)
					}
				})
				begun := time.Now()
				if err := end(conn.ends); err != nil {
					t.Fatal(err)
				}
				finished()
				faults.report(t)
				t.Logf("all callers knew after %v", time.Since(begun))
				if n := results.Load(); n != calls {
					t.Errorf("got %d results for %d calls", n, calls)
				}
				_, err := call(patiently(t), conn, nil)
				wantCode(t, err, codes.Unavailable)
			})
		}
	})
}

func TestHandlersEndWhenTheirCallerDies(t *testing.T) {
	overEach(t, func(t arena) {
		inside, ended := make(chan struct{}), make(chan error, 1)
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			close(inside)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, nil
		})
		left := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), conn, nil)
			left <- err
		}()
		await(t, inside, "the handler")
		conn.ends.client.Close()
		if err := await(t, ended, "the handler's context"); err != context.Canceled { //nolint:errorlint // Err returns the very value
			t.Errorf("the handler's context: got %v, want context.Canceled", err)
		}
		wantCode(t, await(t, left, "the caller"), codes.Unavailable)
	})
}

func TestCloseCancelsTheCallsInFlight(t *testing.T) {
	overEach(t, func(t arena) {
		const calls = 100
		var faults tally
		var results atomic.Int64
		conn, _, finished := callsInside(t, calls, func(err error) {
			results.Add(1)
			if status.Code(err) != codes.Canceled {
				faults.add("got %v, want Canceled", err)
			}
		})
		if err := conn.close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		finished()
		faults.report(t)
		if n := results.Load(); n != calls {
			t.Errorf("got %d results for %d calls", n, calls)
		}
	})
}

func TestACallAfterCloseIsCanceled(t *testing.T) {
	overEach(t, func(t arena) {
		for _, first := range []bool{true, false} { // before the first call and after one
			conn := t.serve(echo)
			if !first {
				if _, err := call(patiently(t), conn, nil); err != nil {
					t.Error(err)
				}
			}
			if err := conn.close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			_, err := call(patiently(t), conn, nil)
			wantCode(t, err, codes.Canceled)
			_, err = call(t.Context(), conn, nil)
			wantCode(t, err, codes.Canceled)
		}
	})
}

func TestACallAfterCloseIsCanceledThoughTheServerDiedFirst(t *testing.T) {
	overEach(t, func(t arena) {
		conn := t.serve(echo)
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Error(err)
		}
		conn.ends.server.Close()
		_, err := call(patiently(t), conn, nil)
		wantCode(t, err, codes.Unavailable)
		if err := conn.close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		_, err = call(patiently(t), conn, nil)
		wantCode(t, err, codes.Canceled)
	})
}

func TestEachCallHasOneResultWhileTheConnectionEnds(t *testing.T) {
	ways := map[string]struct {
		end  func(client)
		want codes.Code
	}{
		"Close":           {func(conn client) { _ = conn.close() }, codes.Canceled},
		"the server dies": {func(conn client) { _ = conn.ends.server.Close() }, codes.Unavailable},
	}
	overEach(t, func(t arena) {
		for name, c := range ways {
			t.run(name, func(t arena) {
				conn := t.serve(echo)
				var faults tally
				var answered atomic.Int64
				var callers sync.WaitGroup
				for worker := range 16 {
					callers.Go(func() {
						for i := 0; ; i++ {
							want := strconv.Itoa(worker) + "." + strconv.Itoa(i)
							ctx, cancel := context.WithCancel(patiently(t))
							leaves := i%3 == worker%3 // some of them at that moment
							if leaves {
								ctx, cancel = context.WithTimeout(ctx, time.Duration(i%20)*100*time.Microsecond)
							}
							got, err := call(ctx, conn, []byte(want))
							cancel()
							if leaves && status.Code(err) == codes.DeadlineExceeded {
								continue
							}
							if err != nil {
								if status.Code(err) != c.want {
									faults.add("got %v, want %v", err, c.want)
								}
								return
							}
							answered.Add(1)
							if string(got) != want {
								faults.add("the answer of another call")
							}
						}
					})
				}
				if !proctest.Soon(func() bool { return answered.Load() > 500 || t.Failed() }) {
					t.Errorf("got %d answers in all that time", answered.Load())
				}
				c.end(conn)
				callers.Wait()
				faults.report(t)
			})
		}
	})
}
