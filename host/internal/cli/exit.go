package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/request"
)

// Exit codes of the process.
const (
	exitFine        = 0
	exitRuntime     = 1
	exitUsage       = 2
	exitConfig      = 3
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// failure is an error with all that a user is told about it.
type failure struct {
	code  int
	text  string   // "" when the user was told already
	notes []string // lines below the text
	hints []string
}

func (f *failure) Error() string { return f.text }

func failed(format string, args ...any) *failure {
	return &failure{code: exitRuntime, text: fmt.Sprintf(format, args...)}
}

func (f *failure) hint(format string, args ...any) *failure {
	f.hints = append(f.hints, fmt.Sprintf(format, args...))
	return f
}

// usageError says what is wrong with the command line and where to read what
// is right.
func usageError(cmd *cobra.Command, format string, args ...any) *failure {
	f := failed(format, args...).hint("%s --help shows what it takes", cmd.CommandPath())
	f.code = exitUsage
	return f
}

// exit prints err and returns the exit code for it.
func (c *command) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitFine
	}
	if ctx.Err() != nil && isCancelled(err) {
		return exitInterrupted
	}
	f := describeError(err)
	if f.text != "" {
		f.print(c.Stderr)
	}
	return f.code
}

// isCancelled reports whether err says no more than that somebody stopped
// waiting.
func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled
}

func describeError(err error) *failure {
	var (
		told     *failure
		argument *request.Error
	)
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &argument):
		f := failed("%v", err)
		f.code = exitUsage
		if argument.Hint != "" {
			f = f.hint("%s", argument.Hint)
		}
		return f
	}
	if s, ok := status.FromError(err); ok {
		return describeStatus(s, nil)
	}
	return failed("%v", err)
}

func (f *failure) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "gaia: error: %s\n", printable(f.text))
	for _, note := range f.notes {
		_, _ = fmt.Fprintf(w, "  %s\n", printable(note))
	}
	for _, hint := range f.hints {
		_, _ = fmt.Fprintf(w, "gaia: hint: %s\n", printable(hint))
	}
}
