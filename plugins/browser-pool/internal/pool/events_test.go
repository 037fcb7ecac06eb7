package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// connect serves a pool over gRPC and returns a client of it. Both end with the
// test.
func connect(t testing.TB, p *Pool) browserv1.BrowserPoolClient {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	browserv1.RegisterBrowserPoolServer(server, p)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		served.Wait()
	})
	return browserv1.NewBrowserPoolClient(conn)
}

// stream is one of Events.
type stream struct {
	grpc.ServerStreamingClient[browserv1.EventsResponse]
}

// follow begins a stream of a session's events, which has them all from here on.
func follow(t testing.TB, p *Pool, session string) stream {
	t.Helper()
	return followBy(t, connect(t, p), session)
}

func followBy(t testing.TB, client browserv1.BrowserPoolClient, session string) stream {
	t.Helper()
	s, err := client.Events(t.Context(), &browserv1.EventsRequest{Session: session})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	return stream{s}
}

// until returns the first event that is wanted.
func (s stream) until(t testing.TB, wanted func(*browserv1.EventsResponse) bool) *browserv1.EventsResponse {
	t.Helper()
	for {
		e, err := s.Recv()
		if err != nil {
			t.Fatalf("before what was waited for: %v", err)
		}
		if wanted(e) {
			return e
		}
	}
}

// rest are the events that are left, as texts.
func (s stream) rest(t testing.TB) []string {
	t.Helper()
	var all []string
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.GetTime().AsTime().Year() < 2000 {
			t.Errorf("%v has no time", e)
		}
		all = append(all, brief(e))
	}
}

func brief(e *browserv1.EventsResponse) string {
	switch {
	case e.GetConsole() != nil:
		c := e.GetConsole()
		text, _, _ := strings.Cut(c.GetText(), "\n")
		return fmt.Sprintf("%s %d %s", c.GetLevel(), c.GetLine(), text)
	case e.GetRequest() != nil:
		r := e.GetRequest()
		return fmt.Sprintf("%s %s %s %d %q %t", r.GetMethod(), r.GetType(), path(r.GetUrl()), r.GetStatus(), r.GetError(), r.GetReceived() > 0)
	case e.GetDialog() != nil:
		return fmt.Sprintf("%s %q %t", e.GetDialog().GetType(), e.GetDialog().GetMessage(), e.GetDialog().GetAccepted())
	case e.GetNavigated() != nil:
		return fmt.Sprintf("navigated %s %d", path(e.GetNavigated().GetUrl()), e.GetNavigated().GetStatus())
	}
	return e.GetEnded()
}

// path is a URL without what is different each time.
func path(address string) string {
	parts := strings.SplitN(address, "/", 4)
	if len(parts) < 4 {
		return address
	}
	return "/" + parts[3]
}

// eventful has a page that does all that there are events of.
func eventful(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<title>events</title><script>
				console.log("a line", 1, {a: "b", c: [1, 2]}, null, undefined)
				console.warn("careful")
				setTimeout(() => { throw new Error("not caught") }, 0)
				addEventListener("error", () => (async () => {
					await (await fetch("/missing")).text() // a request ends with its body
					await (await fetch("/moved")).text()
					await fetch("/refused").catch(() => {})
					await fetch("http://10.0.0.7/").catch(() => {})
					await fetch("/ad.js").catch(() => {})
					await new Promise((done) => {
						const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket")
						socket.onmessage = () => socket.close()
						socket.onclose = done
					})
					alert("look"); confirm("sure?"); const name = prompt("who?")
					history.pushState(null, "", "/state?" + name)
					console.error("over")
				})())
			</script>`))
		case "/moved":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/there":
			_, _ = w.Write([]byte("there"))
		case "/socket":
			socket, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			_ = socket.Write(r.Context(), websocket.MessageText, []byte("hello"))
			_, _, _ = socket.Read(r.Context())
		case "/refused":
			panic(http.ErrAbortHandler)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestEventsTellWhatHappensInASession(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := eventful(t)
	id := open(t, p, &browserv1.OpenRequest{
		Page:    &browserv1.Page{Client: "a", Rules: &browserv1.Rules{BlockUrls: []string{"*/ad.js"}}},
		Dialogs: &browserv1.DialogPolicy{Accept: true, Text: "me"},
	})
	first, second := follow(t, p, id), follow(t, p, id)
	if _, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/", Wait: &browserv1.Wait{Expression: `location.pathname === "/state"`}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
		t.Fatal(err)
	}
	got := first.rest(t)
	// The favicon comes when it likes, and so does what a refused request says.
	got = slices.DeleteFunc(got, func(line string) bool { return strings.Contains(line, "/favicon.ico") })
	for i, line := range got {
		if strings.HasPrefix(line, "GET fetch /refused 0 ") {
			got[i] = "GET fetch /refused"
		}
		if strings.HasPrefix(line, `GET fetch / 0 "blocked by rule: egress to 10.0.0.7:80`) {
			got[i] = "GET fetch denied"
		}
	}
	want := []string{
		"navigated / 200", `GET document / 200 "" true`,
		`log 2 a line 1 {a: "b", c: Array(2)} null undefined`, "warning 3 careful", "exception 4 Error: not caught",
		`GET fetch /missing 404 "" true`,
		`GET fetch /moved 302 "" true`, `GET fetch /there 200 "" true`,
		"GET fetch /refused", "GET fetch denied", `GET fetch /ad.js 0 "blocked by rule" false`,
		`GET websocket /socket 101 "" true`,
		`alert "look" true`, `confirm "sure?" true`, `prompt "who?" true`,
		"navigated /state?me 200", "error 18 over", "closed",
	}
	// Only the order of events of one kind is the same each time.
	for kind := range map[string]bool{"GET": true, "navigated": true, "console": true} {
		of := func(line string) bool {
			word, _, _ := strings.Cut(line, " ")
			isConsole := slices.Contains([]string{"log", "warning", "exception", "error", "alert", "confirm", "prompt", "closed"}, word)
			return word == kind || kind == "console" && isConsole
		}
		given, had := pick(want, of), pick(got, of)
		if kind == "GET" { // a fetch ends when its body does
			slices.Sort(given)
			slices.Sort(had)
		}
		if diff := cmp.Diff(given, had); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	if n := len(second.rest(t)); n < len(got) {
		t.Errorf("another stream: got %d events, want %d at least", n, len(got))
	}
}

func pick(lines []string, is func(string) bool) []string {
	var picked []string
	for _, line := range lines {
		if is(line) {
			picked = append(picked, line)
		}
	}
	return picked
}

func TestAReceiverThatIsTooSlowIsToldHowMuchItMissed(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})
	slow := follow(t, p, id)
	const lines = 4000
	// The page is not held up by a stream that nobody reads.
	evaluate(t, p, id, fmt.Sprintf(`(() => { for (let i = 0; i < %d; i++) console.log(i, "x".repeat(500)); return "" })()`, lines))
	evaluate(t, p, id, `(console.log("y".repeat(100 << 10)), "")`)
	if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
		t.Fatal(err)
	}
	var got, missed uint64
	var last *browserv1.EventsResponse
	for {
		e, err := slow.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = e
		missed += e.GetMissed()
		if c := e.GetConsole(); c != nil {
			got++
			if len(c.GetText()) > 64<<10 {
				t.Errorf("a line of %d bytes, want at most 64 KiB", len(c.GetText()))
			}
		}
	}
	if missed == 0 || got+missed != lines+1 {
		t.Errorf("got %d lines and missed %d, want %d together and some missed", got, missed, lines+1)
	}
	if last.GetEnded() != "closed" {
		t.Errorf("last: got %v, want the end", last)
	}
}

func TestDialogsAreDismissedUnlessThePolicySaysOtherwise(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	const ask = `String([confirm("?"), prompt("?", "d")])`
	for want, policy := range map[string]*browserv1.DialogPolicy{
		"false,": nil, "false, ": {Text: "ignored"}, "true,": {Accept: true}, "true,me": {Accept: true, Text: "me"},
	} {
		id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}, Dialogs: policy})
		if got := evaluate(t, p, id, ask); got != strings.TrimSpace(want) {
			t.Errorf("%v: got %q, want %q", policy, got, want)
		}
	}
}

func TestStreamsOfASessionAreBounded(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{})
	client := connect(t, p)
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		s, err := client.Events(ctx, &browserv1.EventsRequest{Session: id})
		if err != nil {
			t.Fatal(err)
		}
		if header, _ := s.Header(); header != nil {
			continue
		}
		if _, err = s.Recv(); status.Code(err) != codes.ResourceExhausted || n != 9 {
			t.Errorf("stream %d: got %v, want ResourceExhausted for the ninth", n, err)
		}
		return
	}
}

func TestEventsOfFramesOfOtherSitesAndOfWorkersAreTold(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	other := strings.Replace(serve(t, map[string]string{
		"/": `<script>console.log("in a frame")</script><img src=/of-frame>`,
	}), "127.0.0.1", "localhost", 1)
	url := serve(t, map[string]string{
		"/":      `<title>outer</title><body>`,
		"/later": `<title>later</title><iframe src="` + other + `/"></iframe>`,
	})
	id := open(t, p, &browserv1.OpenRequest{Url: url + "/", Page: &browserv1.Page{Client: "a"}})
	evaluate(t, p, id, `new Promise((done) => {
		const frame = document.createElement("iframe")
		frame.onload = () => done("")
		frame.src = "`+other+`/"
		document.body.append(frame)
	})`)
	events := follow(t, p, id)
	events.until(t, func(e *browserv1.EventsResponse) bool { return e.GetConsole().GetText() == "in a frame" }) // of the one that is there
	if _, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/later"}); err != nil {
		t.Fatal(err)
	}
	evaluate(t, p, id, `new Promise((done) => {
		const worker = new Worker(URL.createObjectURL(new Blob(["console.log('in a worker'); postMessage(1)"])))
		worker.onmessage = () => done("")
	})`)
	if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
		t.Fatal(err)
	}
	got := events.rest(t)
	for line, want := range map[string]int{"log 1 in a frame": 1, "log 1 in a worker": 1, `GET image /of-frame 404 "" true`: 1, "navigated /later 200": 1} {
		n := len(pick(got, func(l string) bool { return l == line }))
		if n != want {
			t.Errorf("%s: got %d, want %d, in:\n%s", line, n, want, strings.Join(got, "\n"))
		}
	}
}

func TestAPageIsLeftUnlessThePolicyIsAgainstIt(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/":     `<title>stays</title><button onclick="this.textContent = 'clicked'">b</button><script>onbeforeunload = (e) => { e.preventDefault(); return "x" }</script>`,
		"/away": `<title>away</title>`,
	})
	for name, test := range map[string]struct {
		policy *browserv1.DialogPolicy
		want   codes.Code
	}{
		"without a policy": {nil, codes.OK},
		"accepted":         {&browserv1.DialogPolicy{Accept: true}, codes.OK},
		"dismissed":        {&browserv1.DialogPolicy{}, codes.FailedPrecondition},
	} {
		id := open(t, p, &browserv1.OpenRequest{Url: url + "/", Page: &browserv1.Page{Client: "a"}, Dialogs: test.policy})
		if _, err := p.Click(t.Context(), &browserv1.ClickRequest{Session: id, Target: target("button")}); err != nil {
			t.Fatal(err)
		}
		events := follow(t, p, id)
		if _, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/away"}); status.Code(err) != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		dialog := events.until(t, func(e *browserv1.EventsResponse) bool { return e.GetDialog() != nil }).GetDialog()
		if dialog.GetType() != "beforeunload" || dialog.GetAccepted() != (test.want == codes.OK) {
			t.Errorf("%s: got %v", name, dialog)
		}
		if _, err := p.WaitFor(t.Context(), &browserv1.WaitForRequest{Session: id, Wait: &browserv1.Wait{}}); err != nil {
			t.Errorf("%s: then: %v", name, err)
		}
		title := map[bool]string{true: "away", false: "stays"}[test.want == codes.OK]
		if got := evaluate(t, p, id, "document.title"); got != title {
			t.Errorf("%s: the page is %q, want %q", name, got, title)
		}
	}
}
