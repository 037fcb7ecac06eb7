package cli

import (
	"context"
	"io"
	"sync"
)

// stdin returns standard input such that reads end with ctx, or when it is
// closed. A read of a terminal or pipe cannot be interrupted: it goes on behind
// a pipe, and with it one goroutine, until it returns or the process has ended.
// Nothing is read before the first Read, so that a command leaves to its
// neighbours in a script what it does not need.
func (c *command) stdin(ctx context.Context) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = in.CloseWithError(ctx.Err()) })
	start := sync.OnceFunc(func() {
		go func() {
			_, err := io.Copy(in, c.Stdin)
			_ = in.CloseWithError(err)
		}()
	})
	return stdin{
		read: func(p []byte) (int, error) {
			start()
			return out.Read(p)
		},
		close: func() {
			stop()
			_ = in.CloseWithError(context.Canceled)
		},
	}
}

// stdin is standard input that can be closed while a Read waits.
type stdin struct {
	read  func([]byte) (int, error)
	close func()
}

// Read blocks until there is input, or the end of ctx.
func (s stdin) Read(p []byte) (int, error) { return s.read(p) }

// Close ends a Read that waits.
func (s stdin) Close() error {
	s.close()
	return nil
}
