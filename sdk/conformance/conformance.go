// Package conformance checks whether a program is a good gaia plugin, in
// whatever language it is written. It runs the real executable as the host does,
// treats it well and badly, and says of each promise whether it was kept.
//
// Package plugintest makes a Go test of it; `gaia plugin test` runs it from a
// terminal.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options say which plugin to check, and with what.
type Options struct {
	// Binary is the path of the executable. Required.
	Binary string
	// Config makes the config that the plugin is given, an instance of md; nil
	// when the plugin takes none. Optional: without it the config is empty.
	Config func(md protoreflect.MessageDescriptor) (proto.Message, error)
	// Env is added, as "key=value", to the plugin's environment, which otherwise
	// has PATH, HOME, USER, LANG and a TMPDIR of its own.
	Env []string
	// Describe is asked about the plugin's description; an error says that it is
	// of no use. Optional; the host's own reading goes here.
	Describe func(*pluginv1.DescribeResponse) error
	// Reflect learns what a plugin without Describe serves, by gRPC reflection.
	// Optional; without it such a plugin fails.
	Reflect func(context.Context, grpc.ClientConnInterface) (*pluginv1.DescribeResponse, error)
	// Output is called with each line that the plugin writes, from several
	// goroutines; the line is valid during the call. Optional.
	Output func(line []byte)
	// Done is called with the result of each check when it has ended. Optional.
	Done func(Result)
}

// Status is how a check ended.
type Status string

// What a check may come to.
const (
	Passed  Status = "pass"
	Failed  Status = "fail"
	Skipped Status = "skip" // Reason says why
)

// Result is what one check came to.
type Result struct {
	// Name is the promise that was checked, as a sentence. Names are stable.
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Reason of a skip; "" otherwise.
	Reason string `json:"reason,omitempty"`
	// Want, Got and Fix tell of a failure: what was expected, what was seen, and
	// what to do about it.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	Fix  string `json:"fix,omitempty"`
	// Seconds that the check took.
	Seconds float64 `json:"seconds"`
}

// checkTimeout bounds one check: none needs a third of it.
const checkTimeout = 90 * time.Second

// Run makes all checks, one after the other, and returns their results in that
// order; it takes some seconds. Of the plugin's methods it calls those that are
// declared to have no side effects; the others it sends what is no message, and
// nothing. The error says why there are no results: ctx has ended, there is no
// such program, or Options.Config failed.
func Run(ctx context.Context, o Options) ([]Result, error) {
	path, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("%s is no program: it may not be executed", o.Binary)
	}
	o.Binary = path
	return o.run(ctx, checks())
}

// run makes some checks.
func (o Options) run(ctx context.Context, checks []check) ([]Result, error) {
	s, err := newSuite(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var results []Result
	for _, c := range checks {
		r := s.check(ctx, c)
		if err := errors.Join(ctx.Err(), s.fatal); err != nil {
			return nil, err
		}
		results = append(results, r)
		if o.Done != nil {
			o.Done(r)
		}
	}
	return results, nil
}

// check makes one check.
func (s *suite) check(ctx context.Context, c check) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	began := time.Now()
	err := s.blocked
	if err == nil || c.always {
		err = c.run(ctx, s)
		err = withDeath(err, s.stillLives(err))
	}
	r := Result{Name: c.name, Status: Passed, Seconds: time.Since(began).Seconds()}
	var (
		skipped *skip
		failed  *failure
	)
	switch {
	case err == nil:
	case errors.As(err, &failed):
		r.Status, r.Want, r.Got, r.Fix = Failed, failed.want, failed.got, failed.fix
	case errors.As(err, &skipped):
		r.Status, r.Reason = Skipped, skipped.reason
	default:
		r.Status, r.Want, r.Got = Failed, "an orderly answer", err.Error()
		r.Fix = "see what the plugin wrote; `gaia logs`, or the output of the test, has it"
	}
	return r
}

// withDeath adds to the outcome of a check that the plugin ended meanwhile, if it
// did.
func withDeath(err error, death *failure) error {
	var seen *failure
	switch {
	case death == nil:
		return err
	case errors.As(err, &seen):
		return &failure{seen.want, seen.got + "; " + death.got, death.fix}
	default:
		return death
	}
}

// failure is a promise that was not kept.
type failure struct{ want, got, fix string }

func (f *failure) Error() string {
	return fmt.Sprintf("want %s; got %s; %s", f.want, f.got, f.fix)
}

// fail tells of a failure: what was expected, what was seen, what to do.
func fail(want, got, fix string) error { return &failure{want, got, fix} }

// skip is a promise that was not checked.
type skip struct{ reason string }

func (s *skip) Error() string { return s.reason }

func skipf(format string, args ...any) error { return &skip{fmt.Sprintf(format, args...)} }
