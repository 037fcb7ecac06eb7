package pool

import (
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"
	"github.com/coder/websocket"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const doorToken = "0123456789abcdef-test"

// withDoor is a pool whose door is open, and the address of the door.
func withDoor(t *testing.T, cdp *browserv1.CDP) (*Pool, string) {
	t.Helper()
	cdp.Listen, cdp.Token = "127.0.0.1:0", doorToken
	p := start(t, &browserv1.Config{MaxBrowsers: 1, MaxTabs: 20, Warm: new(uint32(0)), Cdp: cdp})
	return p, p.running.door.Addr()
}

// formSite greets who fills in its form, and sets a cookie with the name.
func formSite(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := html.EscapeString(r.FormValue("name"))
		pages := map[string]string{
			"/form":  `<form action=/hello><input id=name name=name><button id=send>Send</button></form><input id=file type=file><a id=get href=/popup download=x.html>get</a>`,
			"/hello": `<title>Hello</title><h1>Hello ` + who + `</h1><iframe src=/frame></iframe><a id=popup href=/popup target=_blank rel=opener>more</a>`,
			"/frame": `<p>in a frame</p>`, "/popup": `<title>popup</title>`,
		}
		if r.URL.Path == "/hello" {
			http.SetCookie(w, &http.Cookie{Name: "who", Value: who, Path: "/"}) //nolint:gosec // G124: a test's
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(pages[r.URL.Path]))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// scripts is a directory with the scripts and what they import. Without npm or
// its registry the test is skipped.
func scripts(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("no npm here: Playwright and Puppeteer are not tried")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", "testdata/scripts/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm ci: %v: %.500s", err, out)
	}
	return dir
}

func runScript(t *testing.T, dir, script string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	node.Dir = dir
	if out, err := node.CombinedOutput(); err != nil || !strings.Contains(string(out), "done") {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}

func TestPlaywrightAndPuppeteerScriptsRunUnchangedAtOnceOnOneBrowser(t *testing.T) {
	t.Parallel()
	p, door := withDoor(t, &browserv1.CDP{})
	dir, site := scripts(t), formSite(t)
	t.Run("clients", func(t *testing.T) {
		for _, who := range []string{"ann", "bob"} {
			t.Run("playwright "+who, func(t *testing.T) {
				t.Parallel()
				runScript(t, dir, "playwright.mjs", "http://"+door+"/?token="+doorToken, site, who)
			})
			t.Run("puppeteer "+who, func(t *testing.T) {
				t.Parallel()
				runScript(t, dir, "puppeteer.mjs", "ws://"+door+"?token="+doorToken, site, who)
			})
		}
	})
	if got := p.running.slots.Counts().Browsers; got != 1 {
		t.Errorf("browsers: got %d, want 1", got)
	}
	eventually(t, "all places are free", func() bool { return p.running.slots.Counts().Tabs == 0 })
}

func TestAChromedpScriptRunsThroughTheDoor(t *testing.T) {
	t.Parallel()
	_, door := withDoor(t, &browserv1.CDP{})
	site := formSite(t)
	ctx, cancel := remote.NewAllocator(t.Context(), "ws://"+door+"/devtools/browser/any?token="+doorToken)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(site+"/hello?name=cho")); err != nil {
		t.Fatal(err)
	}
	if title, err := chromedp.Run(ctx, chromedp.Title()); err != nil || title != "Hello" {
		t.Errorf("got %q, %v", title, err)
	}
}

// dial connects to the door over a connection that the test can break.
func dial(t *testing.T, door string) (*websocket.Conn, *net.TCPConn, error) {
	t.Helper()
	var raw *net.TCPConn
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			raw = conn.(*net.TCPConn)
		}
		return conn, err
	}}
	t.Cleanup(transport.CloseIdleConnections)
	socket, response, err := websocket.Dial(t.Context(), "ws://"+door+"/?token="+doorToken, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}) //nolint:bodyclose // its body is in memory, says Dial
	if err != nil {
		if response != nil {
			text, _ := io.ReadAll(response.Body)
			err = fmt.Errorf("%d %s", response.StatusCode, text)
		}
		return nil, nil, err
	}
	t.Cleanup(func() { _ = socket.CloseNow() })
	socket.SetReadLimit(-1)
	return socket, raw, nil
}

// createTab has a client open a tab.
func createTab(t *testing.T, socket *websocket.Conn) {
	t.Helper()
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"id":1,"method":"Target.createTarget","params":{"url":"about:blank"}}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(text), "targetId") {
		t.Fatalf("create a tab: %s, %v", text, err)
	}
}

func TestWhatAClientHadIsGoneAsSoonAsItIsReset(t *testing.T) {
	t.Parallel()
	p, door := withDoor(t, &browserv1.CDP{MaxClients: 1})
	socket, raw, err := dial(t, door)
	if err != nil {
		t.Fatal(err)
	}
	createTab(t, socket)
	if _, _, err := dial(t, door); err == nil || !strings.HasPrefix(err.Error(), "503 ") || !strings.Contains(err.Error(), "max_clients") {
		t.Errorf("a second client: got %v, want a 503", err)
	}
	_ = raw.SetLinger(0)
	_ = raw.Close()
	begin := time.Now()
	eventually(t, "its place is free", func() bool { return p.running.slots.Counts().Tabs == 0 })
	t.Log("gone after", time.Since(begin))
}

func TestAPageCannotReachTheDoor(t *testing.T) {
	p, door := withDoor(t, &browserv1.CDP{})
	for _, host := range []string{door, strings.Replace(door, "127.0.0.1", "localhost", 1), strings.Replace(door, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		_, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://" + host + "/json/version?token=" + doorToken})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "gaia itself listens there") {
			t.Errorf("%s: got %v", host, err)
		}
	}
}

func TestASilentClientIsSentAway(t *testing.T) {
	t.Parallel()
	_, door := withDoor(t, &browserv1.CDP{IdleTimeout: durationpb.New(100 * time.Millisecond)})
	socket, _, err := dial(t, door)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v", err)
	}
}

func TestADoorThatClosesLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	p, door := withDoor(t, &browserv1.CDP{})
	socket, _, err := dial(t, door)
	if err != nil {
		t.Fatal(err)
	}
	createTab(t, socket)
	if err := p.Shutdown(t.Context()); err != nil { // the client does not say goodbye
		t.Error(err)
	}
	if _, _, err := socket.Read(t.Context()); err == nil {
		t.Error("its client is still in")
	}
	_ = socket.CloseNow()
	eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2 }) // of the client's transport
}
