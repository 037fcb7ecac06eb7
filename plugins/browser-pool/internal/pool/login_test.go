package pool

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// members serves a site with a login, and a report for those who are in.
func members(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("login")
		isIn := err == nil && cookie.Value == "ada"
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch {
		case r.URL.Path == "/login" && r.Method == http.MethodPost:
			if r.FormValue("user") != "ada" || r.FormValue("password") != "lovelace" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			w.Header().Set("Set-Cookie", "login=ada; HttpOnly; Path=/")
			http.Redirect(w, r, map[bool]string{true: "/home?plan=pro", false: "/home"}[r.FormValue("plan") == "pro"], http.StatusSeeOther)
		case r.URL.Path == "/login":
			_, _ = w.Write([]byte(`<title>Login</title><form method=post><input name=user><input name=password type=password>
				<select name=plan><option value=free>Free<option value=pro>Professional</select><button>Sign in</button></form>`))
		case !isIn:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		case r.URL.Path == "/report.csv":
			w.Header().Set("Content-Type", "text/csv")
			w.Header().Set("Content-Disposition", `attachment; filename="report.csv"`)
			_, _ = w.Write([]byte("a,b\n1,2\n"))
		default:
			_, _ = fmt.Fprintf(w, `<title>Home</title><h1>Welcome, %s</h1><p>Plan: %s</p><input type=file id=f><a href=/report.csv>Report</a>
				<script>localStorage.seen = "yes"</script>`, cookie.Value, r.FormValue("plan"))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestALoginFromItsFormToItsReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, &browserv1.Config{Downloads: &browserv1.Downloads{Dir: dir}})
	c, url, ctx := connect(t, p), members(t), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opened, err := c.Open(ctx, &browserv1.OpenRequest{Url: url + "/home", Name: "ada", Page: &browserv1.Page{Client: "agent"}})
	must(err)
	id := opened.GetSession()
	if got := opened.GetPage(); got.GetTitle() != "Login" || got.GetUrl() != url+"/login" {
		t.Fatalf("Open: got %v", got)
	}
	events := followBy(t, c, id)
	_, err = c.Fill(ctx, &browserv1.FillRequest{Session: id, Target: target("[name=user]"), Text: "ada"})
	must(err)
	_, err = c.Press(ctx, &browserv1.PressRequest{Session: id, Target: target("[name=user]"), Keys: []string{"Tab"}})
	must(err)
	_, err = c.Fill(ctx, &browserv1.FillRequest{Session: id, Target: target("[name=password]"), Text: "lovelace"})
	must(err)
	chosen, err := c.Select(ctx, &browserv1.SelectRequest{Session: id, Target: target("select"), Values: []string{"Professional"}})
	must(err)
	if got := chosen.GetValues(); len(got) != 1 || got[0] != "pro" {
		t.Errorf("Select: got %v", got)
	}
	clicked, err := c.Click(ctx, &browserv1.ClickRequest{Session: id, Target: target("text=Sign in"), WaitNavigation: true})
	must(err)
	if got := clicked.GetPage(); got.GetTitle() != "Home" || got.GetStatus() != 200 || got.GetIsolation() != browserv1.Isolation_STICKY {
		t.Errorf("Click: got %v", got)
	}
	waited, err := c.WaitFor(ctx, &browserv1.WaitForRequest{Session: id, Wait: &browserv1.Wait{Selector: "h1"}, Url: "*/home?plan=pro"})
	must(err)
	if waited.GetPage().GetTitle() != "Home" {
		t.Errorf("WaitFor: got %v", waited)
	}
	two, err := structpb.NewValue(2)
	must(err)
	value, err := c.Evaluate(ctx, &browserv1.EvaluateRequest{Session: id, Expression: `(n) => document.querySelectorAll("p, h1").length + n`, Args: []*structpb.Value{two}})
	must(err)
	if got := value.GetValue().GetNumberValue(); got != 4 {
		t.Errorf("Evaluate: got %v, want 4", got)
	}
	for name, capture := range map[string]*browserv1.CaptureRequest{
		"\x89PNG": {Picture: &browserv1.Picture{}}, "%PDF-": {Print: &browserv1.Print{}}, "<html>": {Html: true}, "Welcome, ada": {Text: true, Selector: "h1"},
	} {
		capture.Session = id
		captured, err := c.Capture(ctx, capture)
		must(err)
		if !bytes.HasPrefix(captured.GetContent(), []byte(name)) || captured.GetPage().GetTitle() != "Home" {
			t.Errorf("Capture: got %.20q of %v, want %q", captured.GetContent(), captured.GetPage(), name)
		}
	}
	_, err = c.Upload(ctx, &browserv1.UploadRequest{Session: id, Target: target("#f"), Files: []*browserv1.File{{Name: "x.txt", Content: []byte("abc")}}})
	must(err)
	if got := evaluate(t, p, id, `document.querySelector("#f").files[0].text()`); got != "abc" {
		t.Errorf("Upload: the page has %q", got)
	}
	_, err = c.SetCookies(ctx, &browserv1.SetCookiesRequest{Session: id, Cookies: []*browserv1.Cookie{{Name: "extra", Value: "1", Url: url}}})
	must(err)
	cookies, err := c.Cookies(ctx, &browserv1.CookiesRequest{Session: id})
	must(err)
	if len(cookies.GetCookies()) != 2 {
		t.Errorf("Cookies: got %v, want 2", cookies)
	}
	login, err := c.Storage(ctx, &browserv1.StorageRequest{Session: id})
	must(err)
	_, err = c.Click(ctx, &browserv1.ClickRequest{Session: id, Target: target("text=Report")})
	must(err)
	download := events.until(t, func(e *browserv1.EventsResponse) bool { return e.GetDownload() != nil }).GetDownload()
	if report, err := os.ReadFile(download.GetPath()); err != nil || !strings.HasPrefix(download.GetPath(), dir+"/") || string(report) != "a,b\n1,2\n" {
		t.Errorf("download: got %v with %q, %v", download, report, err)
	}
	again, err := c.Open(ctx, &browserv1.OpenRequest{Name: "ada", Page: &browserv1.Page{Client: "agent"}})
	must(err)
	if !again.GetReopened() || again.GetSession() != id || again.GetPage().GetTitle() != "Home" {
		t.Errorf("opened again: got %v", again)
	}
	_, err = c.Close(ctx, &browserv1.CloseRequest{Session: id})
	must(err)

	// The login lasts, in a session of another client.
	restored, err := c.Open(ctx, &browserv1.OpenRequest{Url: url + "/home", Page: &browserv1.Page{Client: "other", Storage: login.GetStorage()}})
	must(err)
	if restored.GetPage().GetTitle() != "Home" {
		t.Errorf("restored: got %v", restored.GetPage())
	}
	for _, way := range []*browserv1.NavigateRequest{{Url: url + "/login"}, {Back: true}, {Reload: true}} {
		way.Session = restored.GetSession()
		went, err := c.Navigate(ctx, way)
		must(err)
		if want := map[bool]string{true: "Login", false: "Home"}[way.GetUrl() != ""]; went.GetPage().GetTitle() != want {
			t.Errorf("%v: got %v, want %s", way, went.GetPage(), want)
		}
	}
}

func TestErrorsOfActionsNameTheField(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	ctx := t.Context()
	id := open(t, p, &browserv1.OpenRequest{})
	for name, call := range map[string]func() error{
		"session: required": func() error {
			_, err := p.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "1"})
			return err
		},
		"target.selector: required": func() error {
			_, err := p.Click(ctx, &browserv1.ClickRequest{Session: id})
			return err
		},
		"idle_timeout: 500ms": func() error {
			_, err := p.Open(ctx, &browserv1.OpenRequest{IdleTimeout: durationpb.New(500 * time.Millisecond)})
			return err
		},
		"page.isolation: STICKY": func() error {
			_, err := p.Open(ctx, &browserv1.OpenRequest{Page: &browserv1.Page{Isolation: browserv1.Isolation_STICKY}})
			return err
		},
		"url: set one of": func() error {
			_, err := p.Navigate(ctx, &browserv1.NavigateRequest{Session: id})
			return err
		},
		"timeout: -1s": func() error {
			_, err := p.WaitFor(ctx, &browserv1.WaitForRequest{Session: id, Wait: &browserv1.Wait{}, Timeout: durationpb.New(-time.Second)})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), name) {
			t.Errorf("got %v, want InvalidArgument %q", err, name)
		}
	}
	if _, err := p.Evaluate(ctx, &browserv1.EvaluateRequest{Session: "nothing-like-it", Expression: "1"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown session: got %v, want NotFound", err)
	}
}
