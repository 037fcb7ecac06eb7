package pool

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// leave writes to every store of a page's origin that a later page could read.
const leave = `<!DOCTYPE html><title>busy</title><body><script>(async () => {
	document.cookie = "c=1; max-age=3600; path=/"
	localStorage.setItem("l", "1")
	sessionStorage.setItem("s", "1")
	window.name = "left"
	await new Promise((done, fail) => {
		const open = indexedDB.open("db", 1)
		open.onupgradeneeded = () => open.result.createObjectStore("o").put(1, 1)
		open.onsuccess = done
		open.onerror = fail
	})
	await (await caches.open("cache")).put("/x", new Response("1"))
	await fetch("/cached")
	await navigator.serviceWorker.register("/worker.js")
	await navigator.serviceWorker.ready
	if (location.pathname === "/leave" && new URLSearchParams(location.search).has("frame")) {
		const frame = document.createElement("iframe")
		frame.src = new URLSearchParams(location.search).get("frame")
		document.body.append(frame)
		await new Promise((done) => addEventListener("message", done))
	}
	history.pushState(null, "", location.href + "#2")
	document.title = "done"
	parent.postMessage("done", "*")
})().catch((e) => { document.title = "failed: " + e })</script>`

// look reads all of them.
const look = `<!DOCTYPE html><title>busy</title><body><script>(async () => {
	const found = {
		cookie: document.cookie, local: localStorage.length, session: sessionStorage.length, name: window.name,
		databases: (await indexedDB.databases()).length, caches: (await caches.keys()).length,
		workers: (await navigator.serviceWorker.getRegistrations()).length,
		http: await (await fetch("/cached")).text(), history: history.length,
		persisted: await navigator.storage.persisted(),
	}
	document.body.textContent = JSON.stringify(found)
	document.title = "done"
})().catch((e) => { document.title = "failed: " + e })</script>`

// stores serves them; /cached tells how often it was asked for, and may be kept.
func stores(t testing.TB) string {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cached":
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = fmt.Fprint(w, asked.Add(1))
		case "/worker.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte("self.addEventListener('fetch', () => {}); self.addEventListener('install', () => self.skipWaiting())"))
		case "/leave":
			w.Header().Set("Content-Type", "text/html")
			w.Header().Add("Set-Cookie", "h=1; HttpOnly; Max-Age=3600; Path=/")
			_, _ = w.Write([]byte(leave))
		case "/look":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(look))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func done() *browserv1.Wait {
	return &browserv1.Wait{Expression: `document.title !== "busy"`}
}

func visit(t *testing.T, p *Pool, address, client string, isolation browserv1.Isolation) *browserv1.TextResponse {
	t.Helper()
	response, err := p.Text(t.Context(), &browserv1.TextRequest{Url: address, Page: &browserv1.Page{Client: client, Isolation: isolation, Wait: done()}})
	if err != nil {
		t.Fatal(err)
	}
	if title := response.GetPage().GetTitle(); title != "done" {
		t.Fatalf("%s: %s", address, title)
	}
	return response
}

func TestNothingOfAPageIsLeftForTheNextOne(t *testing.T) {
	for name, isolation := range map[string]browserv1.Isolation{"strict": browserv1.Isolation_STRICT, "reset": browserv1.Isolation_RESET} {
		t.Run(name, func(t *testing.T) {
			warm := uint32(0) // one slot, so that reset is the very tab again
			p := start(t, &browserv1.Config{MaxTabs: 1, Warm: &warm})
			first := stores(t)
			second := strings.Replace(stores(t), "127.0.0.1", "localhost", 1) // another site
			visit(t, p, first+"/leave?frame="+url.QueryEscape(second+"/leave"), "a", isolation)
			for _, site := range []string{first, second} {
				var got map[string]any
				text := visit(t, p, site+"/look", "a", isolation).GetText()
				if err := json.Unmarshal([]byte(text), &got); err != nil {
					t.Fatal(err, text)
				}
				for item, clean := range map[string]any{
					"cookie": "", "local": 0.0, "session": 0.0, "name": "", "databases": 0.0, "caches": 0.0, "workers": 0.0,
					"http": "2", "persisted": false, "history": 2.0, // about:blank is the first
				} {
					if got[item] != clean {
						t.Errorf("%s: %s: got %v, want %v", site, item, got[item], clean)
					}
				}
			}
			if isolation == browserv1.Isolation_RESET {
				if got := metric(t, p, "gaia_browser_wipe_seconds"); got < 2 {
					t.Errorf("wipes: got %v, want 2 at least: the tab was not used again", got)
				}
			}
		})
	}
}

func TestAnotherClientNeverGetsAUsedTab(t *testing.T) {
	warm := uint32(0)
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: &warm})
	address := stores(t)
	visit(t, p, address+"/leave", "a", browserv1.Isolation_RESET)
	visit(t, p, address+"/look", "b", browserv1.Isolation_RESET)
	if got := metric(t, p, "gaia_browser_recycles_total", "reason", "room"); got != 1 {
		t.Errorf("tabs thrown away for another client: got %v, want 1", got)
	}
}

// metric is the value of one of the pool's series, or the count of a histogram.
func metric(t *testing.T, p *Pool, name string, label ...string) float64 {
	t.Helper()
	families, err := p.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if len(label) == 2 && (len(m.GetLabel()) != 1 || m.GetLabel()[0].GetValue() != label[1]) {
				continue
			}
			switch {
			case m.GetHistogram() != nil:
				return float64(m.GetHistogram().GetSampleCount())
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
