package domain

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

func parse(t *testing.T, blocks map[string]*apiv1.Domain) *Domains {
	t.Helper()
	d, err := Parse(blocks)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheBlockThatIsClosestToAHostHolds(t *testing.T) {
	d := parse(t, map[string]*apiv1.Domain{
		"*": {Connections: 1}, "*.example.com": {}, "*.a.example.com": {}, "API.example.com.": {Connections: 7}, "127.0.0.1": {}, "*.bücher.test": {},
	})
	for host, want := range map[string]string{
		"api.example.com": "API.example.com.", "API.Example.COM.": "API.example.com.", "x.api.example.com": "*.example.com",
		"www.example.com": "*.example.com", "b.a.example.com": "*.a.example.com", "a.example.com": "*.example.com",
		"example.com": "*", "badexample.com": "*", "127.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "10.0.0.1": "*", "x.xn--bcher-kva.test": "*.bücher.test",
	} {
		if got := d.Find(host); got == nil || got.Name != want {
			t.Errorf("%s: got %v, want %s", host, got, want)
		}
	}
	if n, field := d.Connections("api.example.com", 64); n != 7 || field != `domain["API.example.com."].connections` {
		t.Errorf("connections: got %d by %s", n, field)
	}
	if n, field := d.Connections("www.example.com", 64); n != 64 || field != "connections_per_host" {
		t.Errorf("connections: got %d by %s", n, field)
	}
	if got := parse(t, nil).Find("h"); got != nil {
		t.Errorf("without blocks: got %v", got)
	}
}

func TestABlockThatNamesNoHostIsAFault(t *testing.T) {
	for _, name := range []string{"", "*.", "*.127.0.0.1", "a b", "http://h/", "*.*.com", "h:80"} {
		_, err := Parse(map[string]*apiv1.Domain{name: {}})
		if err == nil || !strings.Contains(err.Error(), "domain[") {
			t.Errorf("%q: got %v, want a fault at domain[%q]", name, err, name)
		}
	}
	if _, err := Parse(map[string]*apiv1.Domain{"h.test": {}, "H.test.": {}}); err == nil || !strings.Contains(err.Error(), "the same domain") {
		t.Errorf("one host twice: got %v", err)
	}
}

// now answers at once and notes when.
type now struct{ came []time.Time }

func (n *now) RoundTrip(*http.Request) (*http.Response, error) {
	n.came = append(n.came, time.Now())
	return &http.Response{Body: http.NoBody}, nil
}

func get(ctx context.Context, t *testing.T, l *Limiter, url string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := l.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	return err
}

// The regression test of a limiter that let twice its rate through, and of one
// that refused everything below ten a second.
func TestARateIsKeptExactly(t *testing.T) {
	for _, events := range []uint64{1, 5, 9, 100} {
		synctest.Test(t, func(t *testing.T) {
			next := &now{}
			l := &Limiter{Next: next, Domains: parse(t, map[string]*apiv1.Domain{
				"*.example.com": {Rate: &optionsv1.Rate{Events: events, Per: durationpb.New(time.Second)}, Burst: 3},
			})}
			begun := time.Now()
			for range 3 + 10*events {
				if err := get(t.Context(), t, l, "http://a.example.com/"); err != nil {
					t.Fatal(err)
				}
			}
			took := time.Since(begun)
			if took < 10*time.Second-time.Millisecond || took > 10*time.Second+time.Millisecond {
				t.Errorf("%d/s: a burst of 3 and 10s of requests took %v", events, took)
			}
			if err := get(t.Context(), t, l, "http://elsewhere/"); err != nil || time.Since(begun) != took {
				t.Errorf("another host waited until %v, %v", time.Since(begun), err)
			}
		})
	}
}

func TestATurnAfterTheDeadlineIsRefusedAtOnceAndCostsNobodyElseOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &now{}
		l := &Limiter{Next: next, Domains: parse(t, map[string]*apiv1.Domain{"*": {Rate: &optionsv1.Rate{Events: 1, Per: durationpb.New(time.Second)}}})}
		begun := time.Now()
		if err := get(t.Context(), t, l, "http://h/"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		for range 10 {
			if err := get(ctx, t, l, "http://h/"); err == nil || !strings.Contains(err.Error(), `domain "*" may leave in 1s (rate of 1 per 1s)`) {
				t.Errorf("got %v, want a refusal", err)
			}
		}
		if !time.Now().Equal(begun) {
			t.Errorf("the refusals took %v", time.Since(begun))
		}
		if err := get(t.Context(), t, l, "http://h/"); err != nil || time.Since(begun) != time.Second {
			t.Errorf("the next turn came after %v, %v; want 1s", time.Since(begun), err)
		}
	})
}
