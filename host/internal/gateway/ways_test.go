package gateway

import (
	"fmt"
	"testing"
)

// transport is what calls go over.
type transport string

const (
	byGRPC transport = "grpc"
	byLink transport = "link"
)

// ways are what calls take to the host and on to the instance.
type ways struct{ caller, instance transport }

// trial is a test whose calls take given ways: what makes hosts, callers and
// instances looks there. A test that is none has gRPC all the way.
type trial struct {
	*testing.T

	ways ways
}

// Run is a part of the trial.
func (t trial) Run(name string, f func(t trial)) {
	t.T.Run(name, func(part *testing.T) { f(trial{part, t.ways}) })
}

// overEach runs a test over each pair of transports. What callers see must not
// depend on them.
func overEach(t *testing.T, f func(t trial)) {
	t.Helper()
	for _, caller := range []transport{byGRPC, byLink} {
		for _, instance := range []transport{byGRPC, byLink} {
			t.Run(fmt.Sprintf("%s-%s", caller, instance), func(t *testing.T) { f(trial{t, ways{caller, instance}}) })
		}
	}
}

// overLink runs a test for which both are the link.
func overLink(t *testing.T) trial {
	t.Helper()
	return trial{t, ways{byLink, byLink}}
}

func waysOf(tb testing.TB) ways {
	tb.Helper()
	if t, ok := tb.(trial); ok {
		return t.ways
	}
	return ways{byGRPC, byGRPC}
}
