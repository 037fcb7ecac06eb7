package pool

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

func TestAPageOf10000ConnectionsIsBounded(t *testing.T) {
	t.Parallel()
	var open, most atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/socket" {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!DOCTYPE html><script>
				let opened = 0
				const sockets = []
				for (let i = 0; i < 10000; i++) {
					const s = new WebSocket("ws://" + location.host + "/socket")
					s.onopen = () => opened++
					sockets.push(s)
				}
			</script>`))
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		now := open.Add(1)
		defer open.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		_, _, _ = conn.Read(r.Context()) // until the page has gone
		_ = conn.CloseNow()
	}))
	defer server.Close()
	p := start(t, nil)
	_, err := p.Text(t.Context(), &browserv1.TextRequest{Url: server.URL + "/", Page: &browserv1.Page{Wait: &browserv1.Wait{Until: browserv1.Wait_COMMIT, Expression: "opened >= 20"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d at once", most.Load())
	if got := most.Load(); got > 256 {
		t.Errorf("connections at once: got %d, want at most 256", got)
	}
	// The pool is as good as before.
	if _, err := p.Text(t.Context(), &browserv1.TextRequest{Page: &browserv1.Page{Html: "next"}}); err != nil {
		t.Error(err)
	}
}
