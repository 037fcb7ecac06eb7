package door

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const secret = "0123456789abcdef"

func TestTheDoorLetsInWhoShowsTheTokenAndIsNoPage(t *testing.T) {
	d := &Door{Options: Options{Listen: "127.0.0.1:9222", Token: secret, Product: "Chrome/1"}}
	for _, c := range []struct {
		url, bearer, host, origin string
		want                      int
	}{
		{url: "/json/version?token=" + secret, want: 200},
		{url: "/json/version/?token=" + secret, want: 200},
		{url: "/" + secret + "/json/version", want: 200},
		{url: "/json/version", bearer: secret, want: 200},
		{url: "/json/list", bearer: secret, want: 200},
		{url: "/json/version", bearer: secret, host: "localhost:9222", want: 200},
		{url: "/json/version", bearer: secret, host: "[::1]:9222", want: 200},
		{url: "/json/version", want: 401},
		{url: "/json/version?token=", want: 401},
		{url: "/json/version?token=" + secret[1:], want: 401},
		{url: "/", want: 401},
		{url: "/devtools/browser/x", want: 401},
		{url: "/json/version", bearer: secret, host: "evil.example:9222", want: 403},
		{url: "/json/version", bearer: secret, origin: "http://127.0.0.1:9222", want: 403},
		{url: "/devtools/browser/x", bearer: secret, origin: "null", want: 403},
		{url: "/devtools/browser/x", bearer: secret, want: 426},
		{url: "/other", bearer: secret, want: 404},
		{url: "/json/protocol", bearer: secret, want: 404},
		{url: "/json/new?about:blank", bearer: secret, want: 403},
		{url: "/json/close/x", bearer: secret, want: 403},
		{url: "/devtools/page/x", bearer: secret, want: 403},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
		r.Host = "127.0.0.1:9222"
		if c.host != "" {
			r.Host = c.host
		}
		if c.bearer != "" {
			r.Header.Set("Authorization", "Bearer "+c.bearer)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v: got %d", c, w.Code)
		}
		if w.Code != 200 && strings.Contains(w.Body.String(), secret) {
			t.Errorf("%+v: the token is told to somebody who has none", c)
		}
	}
}

func TestAClientThatDoesNotAnswerIsNoticed(t *testing.T) {
	for name, isThere := range map[string]bool{"one that reads": true, "one that does not": false} {
		ended := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			socket, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer socket.CloseNow()
			ctx, end := context.WithCancelCause(r.Context())
			read := socket.CloseRead(ctx)
			patience := 100 * time.Millisecond
			if isThere {
				patience = time.Minute
				limit := time.AfterFunc(300*time.Millisecond, func() { end(nil) })
				defer limit.Stop()
			}
			ping(ctx, socket, 10*time.Millisecond, patience, end)
			ended <- context.Cause(ctx)
			<-read.Done()
		}))
		client, _, err := websocket.Dial(t.Context(), server.URL, nil) //nolint:bodyclose // its body is in memory, says Dial
		if err != nil {
			t.Fatal(err)
		}
		if isThere {
			client.CloseRead(t.Context())
		}
		if err := <-ended; errors.Is(err, errGone) == isThere {
			t.Errorf("%s: ended with %v", name, err)
		}
		_ = client.CloseNow()
		server.Close()
	}
}

func TestATokenFileIsMadeOnceAndKeptFromOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	made, err := Token("", file)
	if err != nil || len(made) < minToken {
		t.Fatalf("got %d characters, %v", len(made), err)
	}
	if again, err := Token("", file); err != nil || again != made {
		t.Errorf("again: another one, %v", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Token("", file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: got %v", err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("/", 20)} {
		if _, err := Token(bad, ""); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
