package pool

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestCookiesAreReadAsTheyWereSet(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	later := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Microsecond))
	cookies := []*browserv1.Cookie{
		{Name: "wide", Value: "2", Domain: ".example.com", Path: "/a", Expires: later, HttpOnly: true, Secure: true, SameSite: "None"},
		{Name: "own", Value: "1", Domain: "example.com", Path: "/", SameSite: "Lax"},
		{Name: "part", Value: "3", Domain: "frame.test", Path: "/", Secure: true, SameSite: "None", Partition: "https://example.com"},
		{Name: "part", Value: "4", Domain: "frame.test", Path: "/", Secure: true, SameSite: "None", Partition: "https://frame.test"},
	}
	on(t, p, "about:blank", func(ctx context.Context, tab *page.Tab) {
		if err := tab.SetCookies(ctx, cookies); err != nil {
			t.Fatal(err)
		}
		got, err := tab.Cookies(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(cookies, got, protocmp.Transform()); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		for url, want := range map[string]string{
			"https://example.com/": "own", "https://example.com/a/b": "wide own", "https://www.example.com/a": "wide", "http://example.com/a": "own", "https://other.test/": "",
		} {
			some, err := tab.Cookies(ctx, []string{url})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range some {
				names = append(names, c.GetName())
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: got %q, want %q", url, got, want)
			}
		}
	})
}

func TestACookieThatTheBrowserDoesNotTakeIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	on(t, p, "about:blank", func(ctx context.Context, tab *page.Tab) {
		err := tab.SetCookies(ctx, []*browserv1.Cookie{{Name: "a;b", Domain: "a.test"}})
		if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), "cookies: ") {
			t.Errorf("a name with a semicolon: got %v", err)
		}
	})
}

func TestALoginKeepsWhomACookieIsSentTo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/set":
			w.Header().Add("Set-Cookie", "own=1; Path=/")
			w.Header().Add("Set-Cookie", "wide=1; Path=/; Domain=app.localhost")
			_, _ = fmt.Fprint(w, `<iframe src="http://frame.localhost/part"></iframe>`)
		case "/part":
			w.Header().Add("Set-Cookie", "part=1; Path=/; Secure; SameSite=None; Partitioned")
			_, _ = fmt.Fprint(w, "part")
		case "/get":
			_, _ = fmt.Fprint(w, "<p>"+r.Header.Get("Cookie")+`</p><iframe src="http://frame.localhost/framed"></iframe><script>onmessage = (e) => { document.body.append(e.data); document.title = "done" }</script>`)
		case "/framed":
			_, _ = fmt.Fprintf(w, "<script>parent.postMessage(%q, '*')</script>", r.Header.Get("Cookie"))
		}
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	p := start(t, &browserv1.Config{Resolve: map[string]string{"app.localhost:80": at, "www.app.localhost:80": at, "frame.localhost:80": at}})
	saved, err := save(t, p, "http://app.localhost/set", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := save(t, p, "about:blank", &browserv1.Page{Storage: saved})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(saved), string(again)); diff != "" {
		t.Errorf("a login that was restored (-first +again):\n%s", diff)
	}
	for url, want := range map[string]string{
		"http://app.localhost/get": "wide=1; own=1\n\npart=1", "http://www.app.localhost/get": "wide=1\n\npart=1",
	} {
		got, err := p.Text(t.Context(), &browserv1.TextRequest{Url: url, Page: &browserv1.Page{Storage: saved, Wait: &browserv1.Wait{Expression: `document.title === "done"`}}})
		if err != nil {
			t.Fatal(err)
		}
		if got.GetText() != want {
			t.Errorf("%s: got %q, want %q", url, got.GetText(), want)
		}
	}
}
