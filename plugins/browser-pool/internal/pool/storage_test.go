package pool

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// signIn leaves something in every store that a login may be in, of its origin,
// and then of another site in a frame and of another origin.
const signIn = `<!DOCTYPE html><title>busy</title><body><script>(async () => {
	const next = new URLSearchParams(location.search)
	document.cookie = "plain=1; path=/"
	localStorage.setItem("token", "t\ud800\u0000ü")
	localStorage.setItem("length", "10")
	sessionStorage.setItem("tab", location.origin)
	const db = await new Promise((done, fail) => {
		const open = indexedDB.open("auth", 7)
		open.onupgradeneeded = () => {
			open.result.createObjectStore("users", { keyPath: "name" }).createIndex("mails", "mails", { unique: true, multiEntry: true })
			open.result.createObjectStore("log", { autoIncrement: true })
			open.result.createObjectStore("keys")
		}
		open.onsuccess = () => done(open.result)
		open.onerror = fail
	})
	const all = db.transaction(["users", "log", "keys"], "readwrite")
	all.objectStore("users").add({ name: "ann", mails: ["a@x", "b@x"], since: new Date(1e12), "__proto__x": 1 })
	for (let i = 0; i < 250; i++) all.objectStore("log").add(["entry", i])
	const shared = new Uint8Array([1, 2, 3]), loop = { shared, again: shared, sparse: [1, , 3], none: undefined }
	loop.self = loop
	all.objectStore("keys").add(new Map([["set", new Set([1n, -0, NaN, /x/gi])], ["loop", loop]]), ["a", new Date(5), 1.5])
	all.objectStore("keys").add(new Blob(["blob"], { type: "text/x" }), new Uint8Array([9]).buffer)
	all.objectStore("keys").add([new File(["f"], "f.txt", { lastModified: 3 }), new DataView(shared.buffer, 1, 2), new TypeError("no"), Object("s")], "more")
	await new Promise((done, fail) => { all.oncomplete = done; all.onerror = fail })
	if (next.has("worker")) {
		await navigator.serviceWorker.register("/worker.js")
		await navigator.serviceWorker.ready
	}
	if (next.has("frame")) {
		const frame = document.createElement("iframe")
		frame.src = next.get("frame")
		document.body.append(frame)
		await new Promise((done) => addEventListener("message", done))
	}
	document.title = "done"
	parent.postMessage("done", "*")
	if (next.has("next")) location = next.get("next")
})().catch((e) => { document.title = "failed: " + e })</script>`

// signedIn shows what is there of it.
const signedIn = `<!DOCTYPE html><title>busy</title><body><script>(async () => {
	const db = await new Promise((done, fail) => {
		const open = indexedDB.open("auth")
		open.onsuccess = () => done(open.result)
		open.onerror = fail
	})
	const ask = (request) => new Promise((done, fail) => { request.onsuccess = () => done(request.result); request.onerror = fail })
	const store = (name) => db.transaction(name, "readwrite").objectStore(name)
	const user = await ask(store("users").index("mails").get("b@x"))
	const map = await ask(store("keys").get(["a", new Date(5), 1.5]))
	const blob = await ask(store("keys").get(new Uint8Array([9]).buffer))
	const [file, view, error, boxed] = await ask(store("keys").get("more"))
	const loop = map.get("loop")
	const state = {
		cookie: document.cookie, local: localStorage.getItem("token") === "t\ud800\u0000ü" && localStorage.getItem("length"), session: sessionStorage.getItem("tab"),
		user: [user.name, user.since.getTime()], log: await ask(store("log").count()), version: db.version,
		set: [...map.get("set")].map(String), shared: loop.shared === loop.again && loop.self === loop, sparse: !(1 in loop.sparse) && loop.sparse.length, none: "none" in loop,
		blob: [blob.type, await blob.text()], file: [file.name, file.lastModified, await file.text()], view: view.getUint8(1), error: [error instanceof TypeError, error.message], boxed: typeof boxed,
		next: await ask(store("log").add(1)),
	}
	document.body.append(JSON.stringify(state))
	const frame = new URLSearchParams(location.search).get("frame")
	if (frame) {
		const child = document.createElement("iframe")
		child.src = frame
		document.body.append(child)
		const { data } = await new Promise((done) => addEventListener("message", done))
		document.body.append(document.createElement("p"), data)
	}
	document.title = "done"
	parent.postMessage(document.body.lastChild.data, "*")
})().catch((e) => { document.title = "failed: " + e; document.body.append(e.stack ?? "") })</script>`

// vault serves them, and tells what it was asked for.
type vault struct {
	url string

	mu    sync.Mutex
	asked []string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	s := &vault{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin") // of a window from which others are opened
		switch r.URL.Path {
		case "/worker.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(`self.addEventListener("fetch", (e) => e.respondWith(fetch("/by-worker")))`))
		case "/sign-in":
			w.Header().Add("Set-Cookie", "hidden=h; HttpOnly; Max-Age=3600; Path=/; SameSite=Lax")
			_, _ = w.Write([]byte(signIn))
		case "/signed-in":
			_, hiddenErr := r.Cookie("hidden")
			_, _ = fmt.Fprintf(w, "<!-- %v -->%s", hiddenErr == nil, signedIn)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *vault) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// save opens a page and returns its login.
func save(t *testing.T, p *Pool, address string, options *browserv1.Page, sites ...*vault) ([]byte, error) {
	t.Helper()
	var saved []byte
	_, _, err := p.do(t.Context(), job{url: address, page: options, work: func(ctx context.Context, h hand) (err error) {
		before := 0
		for _, s := range sites {
			before += s.count()
		}
		saved, err = h.slot.Tab.Storage(ctx)
		for _, s := range sites {
			before -= s.count()
		}
		if before != 0 {
			t.Errorf("servers were asked %d times meanwhile", -before)
		}
		return err
	}})
	return saved, err
}

func TestALoginIsSavedAndRestoredElsewhere(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]browserv1.Engine{"headless shell": browserv1.Engine_HEADLESS_SHELL, "chromium": browserv1.Engine_CHROMIUM} {
		t.Run(name, func(t *testing.T) {
			testLogin(t, start(t, &browserv1.Config{Engine: engine}))
		})
	}
}

func testLogin(t *testing.T, p *Pool) {
	t.Helper()
	first, second, framed := newVault(t), newVault(t), newVault(t)
	frame := strings.Replace(framed.url, "127.0.0.1", "localhost", 1)
	third := url.QueryEscape(frame + "/sign-in")
	address := first.url + "/sign-in?worker=1&frame=" + third + "&next=" + url.QueryEscape(second.url+"/sign-in?end=1")
	options := &browserv1.Page{Wait: &browserv1.Wait{Expression: `document.title !== "busy" && location.search === "?end=1"`}}
	saved, err := save(t, p, address, options, first, second, framed)
	if err != nil {
		t.Fatal(err)
	}
	before := first.count() + second.count() + framed.count()
	again, err := save(t, p, "about:blank", &browserv1.Page{Storage: saved})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(saved), string(again)); diff != "" {
		t.Errorf("a login that was restored (-first +again):\n%s", diff)
	}
	if after := first.count() + second.count() + framed.count(); after != before {
		t.Errorf("restoring a login asked servers %d times", after-before)
	}
	for _, s := range []*vault{first, second} {
		text, err := p.Text(t.Context(), &browserv1.TextRequest{Url: s.url + "/signed-in?frame=" + url.QueryEscape(frame+"/signed-in"), Page: &browserv1.Page{Storage: saved, Wait: done()}})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text.GetText()), "\n")
		if want := state(s.url, "plain=1"); lines[0] != want {
			t.Errorf("got  %s\nwant %s", lines[0], want)
		}
		if s == first {
			if want := state(frame, ""); lines[len(lines)-1] != want {
				t.Errorf("in a frame: got  %s\nwant %s", lines[len(lines)-1], want)
			}
		}
	}
}

// state is what a page says that knows its user.
func state(origin, cookie string) string {
	return `{"cookie":"` + cookie + `","local":"10","session":"` + origin + `","user":["ann",1000000000000],"log":250,"version":7,` +
		`"set":["1","0","NaN","/x/gi"],"shared":true,"sparse":3,"none":true,"blob":["text/x","blob"],"file":["f.txt",3,"f"],"view":3,` +
		`"error":[true,"no"],"boxed":"object","next":251}`
}

func TestWhatCannotBeSavedIsNamed(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	address := serve(t, map[string]string{"/": `<!DOCTYPE html><title>busy</title><script>(async () => {
		const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt"])
		const open = indexedDB.open("vault", 1)
		open.onupgradeneeded = () => open.result.createObjectStore("keys").add(key, 1)
		open.onsuccess = () => { document.title = "done" }
	})()</script>`})
	_, err := save(t, p, address+"/", &browserv1.Page{Wait: done()})
	want := `storage: ` + address + `: database "vault": store "keys": record 1: a CryptoKey cannot be saved`
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestALoginThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	address := serve(t, map[string]string{"/": `<!DOCTYPE html><title>busy</title><script>(async () => {
		const open = indexedDB.open("big", 1)
		open.onupgradeneeded = () => open.result.createObjectStore("blobs").add(new Blob([new Uint8Array(20 << 20)]), 1)
		open.onsuccess = () => { document.title = "done" }
	})()</script>`})
	_, err := save(t, p, address+"/", &browserv1.Page{Wait: done()})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "larger than a login may be") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoLoginIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for text, want := range map[string]string{
		`secret`:                         "page.storage: it is not what Storage returns",
		`{"version":1} x`:                "page.storage: it is not what Storage returns",
		`{"version":1,"other":1}`:        "page.storage: it is not what Storage returns",
		`{"version":2}`:                  "page.storage: version 2, this is 1",
		`{"version":1,"cookies":[null]}`: "page.storage: a cookie is null",
		`{"version":1,"origins":[{"origin":"file:///etc","stores":{}}]}`:        "page.storage: origins[0] is no origin of http or https with its stores",
		`{"version":1,"origins":[{"origin":"http://a.test/path","stores":{}}]}`: "page.storage: origins[0] is no origin of http or https with its stores",
		`{"version":1,"origins":[{"origin":"http://a.test","stores":{"databases":[{"name":"d","version":1,"stores":[{"name":"s","keyPath":null,"indexes":[],"records":[[["view","WebSocket",["buffer",""],0,0],1]]}]}]}}]}`: `page.storage: http://a.test: database "d": WebSocket is no view`,
		`{"version":1,"origins":[{"origin":"http://a.test","stores":{"databases":[{"name":"d","version":1,"stores":[{"name":"s","keyPath":null,"indexes":[],"records":[[["what"],1]]}]}]}}]}`:                               `page.storage: http://a.test: database "d": unknown kind what`,
	} {
		_, err := p.Text(t.Context(), &browserv1.TextRequest{Url: "about:blank", Page: &browserv1.Page{Storage: []byte(text)}})
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestARestoredLoginIsWipedWithItsTab(t *testing.T) {
	t.Parallel()
	warm := uint32(0)
	p := start(t, &browserv1.Config{MaxTabs: 1, Warm: &warm})
	s := newVault(t)
	saved, err := save(t, p, s.url+"/sign-in", &browserv1.Page{Client: "a", Wait: done()})
	if err != nil {
		t.Fatal(err)
	}
	visit := func(storage []byte) []byte {
		again, err := save(t, p, "about:blank", &browserv1.Page{Client: "a", Storage: storage})
		if err != nil {
			t.Fatal(err)
		}
		return again
	}
	visit(saved)
	left, err := save(t, p, s.url+"/", &browserv1.Page{Client: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(left), `{"version":1}`; got != want {
		t.Errorf("left for the next page: got %s, want %s", got, want)
	}
	if got := metric(t, p, "gaia_browser_wipe_seconds"); got < 2 {
		t.Errorf("wipes: got %v, want 2 at least: the tab was not used again", got)
	}
}

func TestALoginIsSavedOfAPageWithoutScripts(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	s := newVault(t)
	saved, err := save(t, p, s.url+"/sign-in", &browserv1.Page{Wait: done()})
	if err != nil {
		t.Fatal(err)
	}
	again, err := save(t, p, s.url+"/", &browserv1.Page{Storage: saved, NoJavascript: true, Rules: &browserv1.Rules{BlockTypes: []string{"image"}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(saved), string(again)); diff != "" {
		t.Errorf("a login that was restored (-first +again):\n%s", diff)
	}
}
