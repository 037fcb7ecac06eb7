package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answer is what happens to an attempt: after some time it fails, or connects.
// Without time it does neither.
type answer struct {
	after time.Duration
	err   error
}

// raced runs a race and says when which attempts have begun, and when it ended.
func raced(ctx context.Context, answers ...answer) (begun []time.Duration, took time.Duration, winner int, open int, err error) {
	var mu sync.Mutex // guards begun
	began := time.Now()
	var addrs []netip.Addr
	for i := range answers {
		addrs = append(addrs, netip.AddrFrom4([4]byte{byte(i)}))
	}
	conns := make([]*closable, len(answers))
	conn, err := race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		i := int(addr.As4()[0])
		mu.Lock()
		begun = append(begun, time.Since(began))
		mu.Unlock()
		after := make(<-chan time.Time)
		if answers[i].after > 0 {
			timer := time.NewTimer(answers[i].after)
			defer timer.Stop()
			after = timer.C
		}
		select {
		case <-after:
			if answers[i].err != nil {
				return nil, answers[i].err
			}
		case <-ctx.Done():
			if !errors.Is(answers[i].err, errLate) {
				return nil, ctx.Err()
			}
		}
		conns[i] = &closable{}
		return conns[i], nil
	})
	winner = -1
	for i, c := range conns {
		if c != nil && !c.closed {
			open++
		}
		if c != nil && net.Conn(c) == conn {
			winner = i
		}
	}
	return begun, time.Since(began), winner, open, err
}

// errLate is of an attempt that connects in the moment in which it is given up.
var errLate = errors.New("late")

type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

func TestAttemptsBeginWhenOneFailsOrAfterTheHeadStart(t *testing.T) {
	const ms = time.Millisecond
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		answers []answer
		begun   []time.Duration
		took    time.Duration
		winner  int
	}{
		"the first answers":            {[]answer{{after: 100 * ms}, {after: ms}}, []time.Duration{0}, 100 * ms, 0},
		"the only one":                 {[]answer{{after: 900 * ms}}, []time.Duration{0}, 900 * ms, 0},
		"the first fails":              {[]answer{{after: 10 * ms, err: refused}, {after: ms}}, []time.Duration{0, 10 * ms}, 11 * ms, 1},
		"the first is silent":          {[]answer{{}, {after: ms}}, []time.Duration{0, 250 * ms}, 251 * ms, 1},
		"the first is slow":            {[]answer{{after: 300 * ms}, {after: 200 * ms}}, []time.Duration{0, 250 * ms}, 300 * ms, 0},
		"a head start for each":        {[]answer{{}, {}, {after: ms}}, []time.Duration{0, 250 * ms, 500 * ms}, 501 * ms, 2},
		"a failure starts it anew":     {[]answer{{}, {after: 10 * ms, err: refused}, {}, {after: ms}}, []time.Duration{0, 250 * ms, 260 * ms, 510 * ms}, 511 * ms, 3},
		"a loser that connects, too":   {[]answer{{err: errLate}, {after: ms}}, []time.Duration{0, 250 * ms}, 251 * ms, 1},
		"one fails, another is silent": {[]answer{{}, {after: ms, err: refused}, {after: 20 * time.Second}}, []time.Duration{0, 250 * ms, 251 * ms}, 20251 * ms, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, took, winner, open, err := raced(t.Context(), test.answers...)
				if err != nil || winner != test.winner || took != test.took || open != 1 || len(begun) != len(test.begun) {
					t.Fatalf("%d won after %v of those begun at %v, %d open, %v; want %d after %v, %v", winner, took, begun, open, err, test.winner, test.took, test.begun)
				}
				for i := range begun {
					if begun[i] != test.begun[i] {
						t.Errorf("begun at %v, want %v", begun, test.begun)
					}
				}
			})
		})
	}
}

func TestALostRaceTellsOfEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := errors.New("one"), errors.New("two")
		_, took, _, open, err := raced(t.Context(), answer{after: time.Millisecond, err: one}, answer{after: time.Millisecond, err: two})
		if !errors.Is(err, one) || !errors.Is(err, two) || took != 2*time.Millisecond || open != 0 {
			t.Errorf("%v after %v, %d open; want one and two after 2ms", err, took, open)
		}
	})
}

func TestARaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun, took, _, open, err := raced(ctx, answer{}, answer{}, answer{})
		if !errors.Is(err, context.DeadlineExceeded) || took != 300*time.Millisecond || open != 0 || len(begun) != 2 {
			t.Errorf("%v after %v, %d begun, %d open; want the deadline after 300ms, 2 begun", err, took, len(begun), open)
		}
		begun, _, _, _, err = raced(ctx, answer{}, answer{})
		if !errors.Is(err, context.DeadlineExceeded) || len(begun) != 0 {
			t.Errorf("after the deadline: %v, %d begun; want none", err, len(begun))
		}
	})
}

func TestFamiliesTakeTurns(t *testing.T) {
	for text, want := range map[string]string{
		"1.1.1.1 2.2.2.2 2::1 2::2 3.3.3.3": "2::1 1.1.1.1 2::2 2.2.2.2 3.3.3.3",
		"2::1 2::2 2::3 1.1.1.1":            "2::1 1.1.1.1 2::2 2::3",
		"1.1.1.1 1.1.1.1":                   "1.1.1.1",
		"2::1":                              "2::1",
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(text) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		var got []string
		for _, a := range inTurn(addrs) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0x20, 14: byte(i >> 8), 15: byte(i)}))
	}
	if got := inTurn(many); len(got) != maxAttempts || !got[0].Is6() || !got[1].Is4() {
		t.Errorf("%v, want %d in turn", got, maxAttempts)
	}
}
