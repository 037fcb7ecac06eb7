package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// trace is one way in which a page could leave something for a later one: what it
// does, and how the later one would find it. Both are JavaScript, the second one
// an expression.
type trace struct{ name, leave, look string }

// traces are left and looked for in any document.
func traces() []trace {
	return []trace{
		{"cookie", `document.cookie = "c=1; max-age=3600; path=/"`, `document.cookie.includes("c=1")`},
		{"cookie of the server", ``, `(await (await fetch("/echo")).json()).Cookie.includes("h=1")`},
		{"local storage", `localStorage.setItem("l", "1")`, `localStorage.length`},
		{"session storage", `sessionStorage.setItem("s", "1")`, `sessionStorage.length`},
		{"indexed database", `await new Promise((done, fail) => {
			const open = indexedDB.open("db", 1)
			open.onupgradeneeded = () => open.result.createObjectStore("o").put(1, 1)
			open.onsuccess = done
			open.onerror = fail
		})`, `(await indexedDB.databases()).length`},
		{"cache", `await (await caches.open("cache")).put("/x", new Response("1"))`, `(await caches.keys()).length`},
		{"private files", `await (await navigator.storage.getDirectory()).getFileHandle("f", { create: true })`,
			`(await Array.fromAsync((await navigator.storage.getDirectory()).keys())).length`},
		{"HTTP cache", `await fetch("/cached")`, `(await (await fetch("/cached")).text(), performance.getEntriesByType("resource").findLast((e) => e.name.endsWith("/cached")).transferSize) === 0`},
		{"service worker", `await navigator.serviceWorker.register("/worker.js"); await navigator.serviceWorker.ready`,
			`(await navigator.serviceWorker.getRegistrations()).length`},
		{"broadcast", ``, `await new Promise((done) => {
			const channel = new BroadcastChannel("later")
			channel.onmessage = () => done("an earlier page's worker answers")
			channel.postMessage("anybody there?")
			setTimeout(done, 300, "silence")
		})`},
	}
}

// frameTraces are also left by a frame of another site, which may have no cookies
// of its own, but for those of its partition.
func frameTraces() []trace { return traces()[2:] }

// mainTraces are left in the main document only.
func mainTraces() []trace {
	return []trace{
		{"cookie of a partition", `await partition()`, `(await partition()).includes("p=1")`},
		{"window name", `window.name = "left"`, `window.name`},
		{"history", `history.pushState(null, "", location.href + "&2"); history.pushState(null, "", location.href + "&3")`, `history.length > 3`},
		{"permission", ``, `(await navigator.permissions.query({ name: "geolocation" })).state`},
		{"header", ``, `(await (await fetch("/echo")).json())["X-Left"]`},
		{"user agent", ``, `navigator.userAgent + (await (await fetch("/echo")).json())["User-Agent"]`},
		{"languages", ``, `navigator.languages.join() + new Intl.NumberFormat().resolvedOptions().locale`},
		{"time zone", ``, `Intl.DateTimeFormat().resolvedOptions().timeZone`},
		{"viewport", ``, `[innerWidth, innerHeight, devicePixelRatio].join()`},
		{"dark", ``, `matchMedia("(prefers-color-scheme: dark)").matches`},
	}
}

// leaving are options that leave what scripts cannot.
func leaving() *browserv1.Page {
	return &browserv1.Page{
		UserAgent: "Left/1.0", Locale: "de-DE", Timezone: "Asia/Tokyo", Dark: true, Headers: map[string]string{"X-Left": "1"},
		Viewport: &browserv1.Viewport{Width: 333, Height: 444, Scale: 2, Mobile: true},
	}
}

const (
	worker = `
addEventListener("install", () => skipWaiting())
addEventListener("fetch", () => {})
new BroadcastChannel("later").onmessage = (e) => { new BroadcastChannel("later").postMessage("here") }`

	// partition asks a frame of another site, which has a cookie for this one.
	partition = `const partition = () => new Promise((done) => {
		const frame = document.createElement("iframe")
		addEventListener("message", (e) => { if (e.source === frame.contentWindow) done(e.data) })
		frame.src = new URLSearchParams(location.search).get("other") + "/partition"
		document.body.append(frame)
	});
`
)

// script is a page that runs all of the traces' one side and tells the end in its
// title.
func script(all []trace, isLook bool) string {
	var s strings.Builder
	s.WriteString(`<!DOCTYPE html><title>busy</title><body><script>` + partition + `(async () => { const found = {}; `)
	for _, t := range all {
		if isLook {
			fmt.Fprintf(&s, "document.body.textContent = %q; found[%q] = String(%s)\n", t.name, t.name, t.look)
		} else {
			fmt.Fprintf(&s, "{ %s }\n", t.leave)
		}
	}
	s.WriteString(`
		const other = new URLSearchParams(location.search).get("other")
		if (other) {
			const frame = document.createElement("iframe")
			const said = new Promise((done) => addEventListener("message", (e) => { if (e.source === frame.contentWindow) done(e.data) }))
			frame.src = other + location.pathname + "-frame"
			document.body.append(frame)
			for (const [name, value] of Object.entries(await said)) found["in a frame: " + name] = value
		}
		document.body.textContent = JSON.stringify(found)
		document.title = "done"
		parent.postMessage(found, "*")
	})().catch((e) => { document.title = "failed: " + e + e.stack })</script>`)
	return s.String()
}

// site serves them.
func site(t testing.TB) string {
	t.Helper()
	mux := http.NewServeMux()
	page := func(path, content string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			if strings.HasPrefix(path, "/leave") {
				w.Header().Add("Set-Cookie", "h=1; HttpOnly; Max-Age=3600; Path=/")
			}
			_, _ = w.Write([]byte(content))
		})
	}
	page("/leave", script(append(traces(), mainTraces()...), false))
	page("/leave-frame", script(frameTraces(), false))
	page("/look", script(append(traces(), mainTraces()...), true))
	page("/look-frame", script(frameTraces(), true))
	mux.HandleFunc("/cached", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write([]byte("cached"))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		told := make(map[string]string)
		for _, name := range []string{"Cookie", "X-Left", "User-Agent"} {
			told[name] = r.Header.Get(name)
		}
		_ = json.NewEncoder(w).Encode(told)
	})
	mux.HandleFunc("/partition", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Add("Set-Cookie", "p=1; Secure; HttpOnly; Path=/; SameSite=None; Partitioned; Max-Age=3600")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><script>parent.postMessage(%q, "*")</script>`, r.Header.Get("Cookie"))
	})
	mux.HandleFunc("/worker.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(worker))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// look opens the page that looks, and returns what it found.
func look(t *testing.T, s *slot.Slot, address string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Tab.Open(ctx, address, done(), s.Outlet.Why); err != nil {
		at, _ := s.Tab.Text(t.Context(), "body")
		t.Fatalf("%v, at %s", err, at)
	}
	text, err := s.Tab.Text(t.Context(), "body")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		info, _ := s.Tab.Info(t.Context())
		t.Fatal(err, text, info)
	}
	return found
}

func done() *browserv1.Wait { return &browserv1.Wait{Expression: `document.title !== "busy"`} }

func TestNothingOfAPageIsLeftForTheNextOne(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: new(uint32(0))})
	need := slot.Need{Engine: p.running.slots.Default, Client: "a", Reset: true}
	acquire := func(page *browserv1.Page) *slot.Slot {
		s, err := p.running.slots.Acquire(t.Context(), need)
		if err == nil && page != nil {
			err = s.Tab.Set(t.Context(), page)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, mode := range []struct {
		name  string
		next  func(*slot.Slot) *slot.Slot
		leaks bool
	}{
		{"strict", func(s *slot.Slot) *slot.Slot {
			p.running.slots.Release(s, slot.Strict)
			return acquire(&browserv1.Page{})
		}, false},
		{"reset", func(s *slot.Slot) *slot.Slot {
			p.running.slots.Release(s, slot.Reset)
			again := acquire(&browserv1.Page{})
			if again != s {
				t.Error("the slot was not used again")
			}
			return again
		}, false},
		// Each trace is found where nothing is wiped: the others prove something.
		{"not wiped", func(s *slot.Slot) *slot.Slot { return s }, true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			first := site(t)
			query := "?other=" + url.QueryEscape(strings.Replace(site(t), "127.0.0.1", "localhost", 1))
			s := acquire(&browserv1.Page{})
			clean := look(t, s, site(t)+"/look?other="+url.QueryEscape(strings.Replace(site(t), "127.0.0.1", "localhost", 1)))
			p.running.slots.Release(s, slot.Strict)
			s = acquire(leaving())
			look(t, s, first+"/leave"+query)
			if _, err := devtools.Call(t.Context(), s.Tab.Browser, browser.SetPermission, browser.SetPermissionParams{
				Permission: &browser.PermissionDescriptor{Name: "geolocation"}, Setting: browser.PermissionSettingGranted, BrowserContextID: s.Tab.Context,
			}); err != nil {
				t.Fatal(err)
			}
			s = mode.next(s)
			found := look(t, s, first+"/look"+query)
			p.running.slots.Release(s, slot.Strict)
			if len(found) != len(clean) || len(clean) < 20 {
				t.Errorf("%d traces were looked for, and %d", len(clean), len(found))
			}
			for name, want := range clean {
				if got := found[name]; got != want && !mode.leaks {
					t.Errorf("%s: got %s, want %s", name, got, want)
				} else if got == want && mode.leaks {
					t.Errorf("%s: %s, nothing is found of what was left", name, got)
				}
			}
		})
	}
}

// Browsers forget passwords on no command, so that the slot goes.
func TestASlotThatWasGivenAPasswordIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: new(uint32(0))})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	for i, test := range []struct {
		credentials map[string]*browserv1.Credentials
		want        uint32
	}{
		{map[string]*browserv1.Credentials{strings.TrimPrefix(server.URL, "http://"): {User: "u", Password: "p"}}, http.StatusOK},
		{nil, http.StatusUnauthorized},
	} {
		response, err := p.Text(t.Context(), &browserv1.TextRequest{Url: server.URL, Page: &browserv1.Page{Client: "a", Credentials: test.credentials}})
		if err != nil || response.GetPage().GetStatus() != test.want {
			t.Errorf("job %d: got %v, %v, want %d", i, response.GetPage(), err, test.want)
		}
	}
	if got := metric(t, p, "gaia_browser_recycles_total", "reason", "unwipeable"); got != 1 {
		t.Errorf("slots thrown away: got %v, want 1", got)
	}
}

// A request with keepalive outlives its page: its answer must not set a cookie for
// a later one.
func TestAnAnswerThatComesAfterItsPageChangesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: new(uint32(0))})
	asked, answer, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			close(asked)
			select {
			case <-answer:
			case <-r.Context().Done():
			}
			w.Header().Set("Set-Cookie", "late=1; Path=/; Max-Age=3600")
			w.WriteHeader(http.StatusNoContent)
			_ = http.NewResponseController(w).Flush()
			close(ended)
		case "/":
			_, _ = w.Write([]byte(`<title>asks</title><script>fetch("/late", { keepalive: true })</script>`))
		default:
			_, _ = w.Write([]byte(r.Header.Get("Cookie")))
		}
	}))
	t.Cleanup(server.Close)
	visit := func(path string) string {
		response, err := p.Text(t.Context(), &browserv1.TextRequest{Url: server.URL + path, Page: &browserv1.Page{Client: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		return response.GetText()
	}
	visit("/")
	<-asked
	eventually(t, "the slot is wiped", func() bool { return p.running.slots.Counts().Wiped == 1 })
	close(answer)
	<-ended
	for range 5 { // what is under way arrives
		if got := visit("/cookies"); got != "" {
			t.Fatalf("a later page has %q", got)
		}
	}
}

func TestAnotherClientNeverGetsAUsedTab(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: new(uint32(0))})
	address := site(t)
	for _, client := range []string{"a", "b"} {
		if _, err := p.Text(t.Context(), &browserv1.TextRequest{Url: address + "/echo", Page: &browserv1.Page{Client: client}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := metric(t, p, "gaia_browser_recycles_total", "reason", "room"); got != 1 {
		t.Errorf("tabs thrown away for another client: got %v, want 1", got)
	}
}
