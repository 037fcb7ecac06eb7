package pool

import (
	"context"
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
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestAScriptsValueIsJSON(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>T</title><script>var args = "page's", most = 1, value = 2; let lexical = [1]</script>
		<iframe name=child src=/child></iframe>`, "/child": `<script>var args = "child's"</script>`})
	list := func(v ...any) []any { return v }
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for expression, want := range map[string]any{
			"1 + 1": 2.0, "document.title": "T", "document.title;\n": "T", "null": nil, "undefined": nil, "NaN": nil, "-1/0": nil, "() => {}": nil,
			"Symbol()": nil, "[NaN, undefined, () => 1, 1e21]": list(nil, nil, nil, 1e21), "({a: undefined, b: [1, 'x', true]})": map[string]any{"b": list(1.0, "x", true)},
			"{a: 1}": map[string]any{"a": 1.0}, "Promise.resolve(3)": 3.0, "await Promise.resolve(4)": 4.0, "async () => 5": 5.0, "function() { return 6 }": 6.0,
			"() => Promise.resolve([7])": list(7.0), "args": "page's", "most + value": 3.0, "lexical": list(1.0), "this === window": true,
			"'\\ud800x' + String.fromCharCode(0xdc00)": "\ufffdx\ufffd", "new Date(0)": "1970-01-01T00:00:00.000Z", "'ü' // comment": "ü",
		} {
			if diff := cmp.Diff(want, value(ctx, t, tab, expression)); diff != "" {
				t.Errorf("%s: %s", expression, diff)
			}
		}
		args, err := structpb.NewList([]any{1.5, "x", map[string]any{"a": nil}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "(...a) => [a, args]", Args: args.GetValues()})
		if diff := cmp.Diff(any(list(list(1.5, "x", map[string]any{"a": nil}), "page's")), v.AsInterface()); err != nil || diff != "" {
			t.Error(err, diff)
		}
		v, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "(a) => a + args + (this === parent)", Args: args.GetValues()[:1], Frame: "child"})
		if err != nil || v.GetStringValue() != "1.5child'sfalse" {
			t.Errorf("in a frame: got %v, %v", v, err)
		}
	})
}

func TestAScriptsErrorHasItsTextAndLine(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<iframe name=child src=/></iframe>`})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for expression, want := range map[string]string{
			"nothing":                               "FailedPrecondition the script threw ReferenceError: nothing is not defined (line 1)",
			"() => {\n\nthrow new Error('a\\nb') }": "FailedPrecondition the script threw Error: a (line 3)",
			"(() => { throw 'text' })()":            `FailedPrecondition the script threw "text" (line 1)`,
			"Promise.reject(new TypeError('no'))":   "FailedPrecondition the script threw TypeError: no (line 1)",
			"1 +":                                   "FailedPrecondition the script threw SyntaxError: Unexpected token ')' (line 2)",
			"10n":                                   "FailedPrecondition the value cannot be JSON: Do not know how to serialize a BigInt",
			"(() => { const a = {}; a.a = a; return a })()": "FailedPrecondition the value cannot be JSON: Converting circular structure to JSON",
			"'x'.repeat(1 << 24)":                           "ResourceExhausted the value has more than 8388608 characters of JSON",
		} {
			for _, frame := range []string{"", "child"} {
				_, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: expression, Frame: frame})
				if s := status.Convert(err); s.Code().String()+" "+s.Message() != want {
					t.Errorf("%s in %q: got %v, want %s", expression, frame, err, want)
				}
			}
		}
		_, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "1", Args: []*structpb.Value{structpb.NewBoolValue(true)}})
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "args: the expression is no function that would take them" {
			t.Errorf("args of no function: got %v", err)
		}
		_, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "(location.href = '/?', new Promise(() => {}))"})
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || !strings.HasPrefix(s.Message(), "the page went elsewhere while the script ran") {
			t.Errorf("a page that goes elsewhere: got %v", err)
		}
		_, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "1", Frame: "none"})
		if status.Code(err) != codes.NotFound {
			t.Errorf("no frame: got %v", err)
		}
	})
}

func TestAnEndlessScriptEndsAndThePageLivesOn(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<button id=b onclick="for (;;) {}">B</button><iframe name=child src=/child></iframe>`, "/child": "x"})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for _, expression := range []string{"(() => { for (;;) {} })()", "async () => { for (;;) await 0 }", "new Promise(() => {})", "() => { while (true) { alert(1) } }"} {
			for _, frame := range []string{"", "child"} {
				_, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: expression, Frame: frame, Timeout: durationpb.New(300 * time.Millisecond)})
				if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != "time is over, waiting for the script" {
					t.Errorf("%s in %q: got %v", expression, frame, err)
				}
				for i := range 3 {
					if got := value(ctx, t, tab, "1 + 1"); got != 2.0 {
						t.Errorf("after %s in %q: %d: got %v", expression, frame, i, got)
					}
				}
			}
		}
		err := tab.WaitFor(ctx, &browserv1.WaitForRequest{Wait: &browserv1.Wait{Expression: "(() => { for (;;) {} })()"}, Timeout: durationpb.New(300 * time.Millisecond)})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		err = tab.Click(ctx, &browserv1.ClickRequest{Target: briefly("#b")}, nil)
		if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != "time is over, waiting for the page to take the click" {
			t.Errorf("got %v", err)
		}
		if got := value(ctx, t, tab, "1 + 1"); got != 2.0 {
			t.Errorf("after the click: got %v", got)
		}
	})
}

func TestWhatIsWaitedForAndWhatIsThereIsSaid(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<p id=p>x</p><p id=gone>x</p><p id=hidden style="visibility:hidden">x</p><iframe name=child src=/child></iframe><script>
		setTimeout(() => { gone.remove(); history.pushState(0, "", "/other?a=secret"); window.ready = 1 }, 200)</script>`,
		"/child": `<p id=c>x</p><script>setTimeout(() => window.childReady = true, 200)</script>`})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for name, request := range map[string]*browserv1.WaitForRequest{
			"gone":             {Wait: &browserv1.Wait{Selector: "#gone"}, Hidden: true},
			"hidden":           {Wait: &browserv1.Wait{Selector: "#hidden"}, Hidden: true},
			"url":              {Url: "*/other?*"},
			"expression":       {Wait: &browserv1.Wait{Expression: "window.ready"}},
			"function":         {Wait: &browserv1.Wait{Expression: "async () => window.ready"}},
			"in a frame":       {Wait: &browserv1.Wait{Expression: "childReady", Selector: "#c"}, Frame: "/child"},
			"no frame, hidden": {Wait: &browserv1.Wait{Selector: "#c"}, Frame: "none", Hidden: true},
		} {
			if err := tab.WaitFor(ctx, request); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for want, request := range map[string]*browserv1.WaitForRequest{
			`time is over, waiting for selector "#x" (no element fits)`:                                {Wait: &browserv1.Wait{Selector: "#x"}},
			`time is over, waiting for selector "#hidden" (the element that fits cannot be seen)`:      {Wait: &browserv1.Wait{Selector: "#hidden"}},
			`time is over, waiting for selector "#p" to be hidden (an element that fits can be seen)`:  {Wait: &browserv1.Wait{Selector: "#p"}, Hidden: true},
			`time is over, waiting for selector "#p" (no frame has the name "none", or it in its URL)`: {Wait: &browserv1.Wait{Selector: "#p"}, Frame: "none"},
			`time is over, waiting for expression "window.none" (it is not true)`:                      {Wait: &browserv1.Wait{Expression: "window.none"}},
			`time is over, waiting for expression "none" (ReferenceError: none is not defined)`:        {Wait: &browserv1.Wait{Expression: "none"}},
			`time is over, waiting for url "*/none" (it is ` + url + `/other)`:                         {Url: "*/none"},
		} {
			request.Timeout = durationpb.New(time.Second)
			if err := tab.WaitFor(ctx, request); status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		const want = `wait.selector: "[" is no selector: CSS, parts of it joined by >>> through shadow roots, or text=`
		err := tab.WaitFor(ctx, &browserv1.WaitForRequest{Wait: &browserv1.Wait{Selector: "["}})
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestTheHistoryIsGoneThrough(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/count" {
			count++
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<title>" + r.URL.Path + strings.Repeat("+", count) + "</title><a id=a href=/count>A</a>"))
	}))
	defer server.Close()
	on(t, p, server.URL+"/one", func(ctx context.Context, tab *page.Tab) {
		for i, step := range []struct {
			request *browserv1.NavigateRequest
			want    string
		}{
			{&browserv1.NavigateRequest{Url: server.URL + "/count"}, "/count+"},
			{&browserv1.NavigateRequest{Back: true}, "/one"},
			{&browserv1.NavigateRequest{Forward: true}, "/count"},
			{&browserv1.NavigateRequest{Reload: true}, "/count"},
			{&browserv1.NavigateRequest{Url: server.URL + "/count#part"}, "/count"},
			{&browserv1.NavigateRequest{Back: true}, "/count"},
			{&browserv1.NavigateRequest{Back: true, Wait: &browserv1.Wait{Selector: "#a"}}, "/one"},
		} {
			if err := tab.Go(ctx, step.request, nil); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			if got := value(ctx, t, tab, "document.title + '|' + document.readyState").(string); !strings.HasPrefix(got, step.want) || !strings.HasSuffix(got, "|complete") {
				t.Errorf("%d: got %q, want %q", i, got, step.want)
			}
		}
		if err := tab.Go(ctx, &browserv1.NavigateRequest{Back: true}, nil); err != nil { // about:blank
			t.Error(err)
		}
		err := tab.Go(ctx, &browserv1.NavigateRequest{Back: true}, nil)
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "back: it is the first page of the history" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAClickThatNavigatesWaitsForThePage(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/": `<a id=fast href=/next>F</a> <button id=slow onclick="setTimeout(() => location = '/next', 300)">S</button>
			<button id=spa onclick="history.pushState(0, '', '/spa')">P</button><button id=none>N</button>
			<button id=dialogs onclick="alert(1); confirm(2); location = '/next'">D</button><a id=dead href="http://127.0.0.1:1/">X</a>
			<a id=missing href=/missing>M</a>`,
		"/next": `<title>next</title><img src=/none><p>there</p>`,
	})
	for id, want := range map[string]string{"fast": url + "/next", "slow": url + "/next", "spa": url + "/spa", "dialogs": url + "/next", "missing": url + "/missing"} {
		on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
			if err := tab.Click(ctx, &browserv1.ClickRequest{Target: target("#" + id), WaitNavigation: true}, nil); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if got := value(ctx, t, tab, "location.href + document.readyState"); got != want+"complete" {
				t.Errorf("%s: got %v", id, got)
			}
		})
	}
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		err := tab.Click(ctx, &browserv1.ClickRequest{Target: briefly("#none"), WaitNavigation: true}, nil)
		if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != "time is over, waiting for a navigation that the click leads to" {
			t.Errorf("got %v", err)
		}
		err = tab.Click(ctx, &browserv1.ClickRequest{Target: target("#dead"), WaitNavigation: true}, nil)
		if status.Code(err) != codes.Unavailable {
			t.Errorf("a page that cannot be reached: got %v", err)
		}
		t.Log(err)
		if err := tab.Go(ctx, &browserv1.NavigateRequest{Reload: true}, nil); status.Code(err) != codes.Unavailable {
			t.Errorf("the same again: got %v", err)
		}
		if err := tab.Go(ctx, &browserv1.NavigateRequest{Back: true}, nil); err != nil {
			t.Error(err)
		}
	})
}
