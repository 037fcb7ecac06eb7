package pool

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// only allows n exchanges with each host.
func only(n int) func(string) (int, string) {
	return func(string) (int, string) { return n, "connections_per_host" }
}

// roundTrip is a function as a RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func exchange(ctx context.Context, b *bulkhead, text string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		return nil, err
	}
	return b.RoundTrip(request)
}

// refusal is the error of an exchange that is expected to have one.
func refusal(ctx context.Context, b *bulkhead, text string) error {
	response, err := exchange(ctx, b, text)
	if err == nil {
		_ = response.Body.Close()
	}
	return err
}

func TestAPermitIsHeldUntilTheBodyIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{Body: http.NoBody}, nil
		}), only(1))
		first, err := exchange(t.Context(), b, "http://h/")
		if err != nil {
			t.Fatal(err)
		}
		other, err := exchange(t.Context(), b, "http://other/")
		if err != nil {
			t.Fatalf("another host waited, too: %v", err)
		}
		done := false
		go func() {
			second, err := exchange(t.Context(), b, "HTTP://H:80/x") // the same host
			if err != nil {
				t.Error(err)
				return
			}
			_ = second.Body.Close()
			done = true
		}()
		synctest.Wait()
		if done {
			t.Error("a second exchange ran beside the first")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := refusal(ctx, b, "http://h/"); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled while it waits: got %v", err)
		}
		_ = first.Body.Close()
		_ = first.Body.Close() // gives nothing back
		synctest.Wait()
		if !done {
			t.Error("the second exchange did not run after the first")
		}
		_ = other.Body.Close()
		if len(b.hosts) != 0 {
			t.Errorf("%d hosts are remembered without an exchange", len(b.hosts))
		}
	})
}

func TestAnExchangeThatFailsGivesItsPermitBack(t *testing.T) {
	b := newBulkhead(roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") }), only(1))
	for range 3 {
		if err := refusal(t.Context(), b, "http://h/"); err == nil {
			t.Error("got no error")
		}
	}
	if len(b.hosts) != 0 {
		t.Errorf("%d hosts are remembered without an exchange", len(b.hosts))
	}
}

func TestHostsAreForgottenWithTheirLastExchange(t *testing.T) {
	p := open(t, &apiv1.Config{Retry: &apiv1.Retry{Retries: new(uint32(0))}})
	for range 100 {
		_, err := do(t, p, &apiv1.DoRequest{Url: "http://" + refused(t)})
		wantError(t, err, codes.Unavailable)
	}
	if n := len(p.client.bulkhead.hosts); n != 0 {
		t.Errorf("%d hosts are remembered, want none", n)
	}
}

func TestAHostIsSpeltInOneWay(t *testing.T) {
	tests := map[string]string{
		"http://127.1:080/x":             "http://127.0.0.1:80/x",
		"http://0x7f.0.0.1:8080":         "http://127.0.0.1:8080",
		"http://[::ffff:127.0.0.1]:8080": "http://127.0.0.1:8080",
		"http://[0:0::1]":                "http://[::1]",
		"http://[::1]:81/":               "http://[::1]:81/",
		"https://API.example.com./":      "https://api.example.com/",
		"https://bücher.example:/":       "https://xn--bcher-kva.example/",
	}
	for text, want := range tests {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := spell(u); err != nil || u.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, u, err, want)
		}
	}
}

func TestAnOriginIsTheSameHoweverItIsWritten(t *testing.T) {
	same := map[string][]string{
		"http h 80":     {"http://h", "http://H/", "http://h:80/x"},
		"https h 443":   {"https://h", "https://h:443"},
		"https ::1 443": {"https://[::1]", "https://[::1]:443/"},
		"http h 443":    {"http://h:443"},
	}
	for want, texts := range same {
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			from := originOf(u)
			if got := strings.Join([]string{from.scheme, from.host, from.port}, " "); got != want {
				t.Errorf("%s: got %q, want %q", text, got, want)
			}
		}
	}
}
