package pool

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// form serves a page with a form, and answers what is posted with it as JSON.
func form(t *testing.T, fields string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, `<form method=post enctype=multipart/form-data>`+fields+`<button id=send>Send</button></form>`)
			return
		}
		if err := r.ParseMultipartForm(1 << 20); err != nil { //nolint:gosec // the form is the test's own
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got := map[string][]string(r.MultipartForm.Value)
		for name, files := range r.MultipartForm.File {
			for _, header := range files {
				file, err := header.Open()
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				content, err := io.ReadAll(file)
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				got[name] = append(got[name], header.Filename+" "+header.Header.Get("Content-Type")+": "+string(content))
			}
		}
		_ = json.NewEncoder(w).Encode(got)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// send submits the form, and returns what the server got.
func send(ctx context.Context, t *testing.T, tab *page.Tab) map[string][]string {
	t.Helper()
	if err := tab.Click(ctx, &browserv1.ClickRequest{Target: target("#send"), WaitNavigation: true}, nil); err != nil {
		t.Fatal(err)
	}
	var got map[string][]string
	text := value(ctx, t, tab, "document.body.innerText").(string)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return got
}

func TestAFormIsFilledInAndSent(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := form(t, `
		<input name=text value=before> <input name=email type=email> <input name=password type=password> <input name=search type=search>
		<input name=tel type=tel> <input name=url type=url> <input name=number type=number min=0 max=10 step=.5> <input name=range type=range>
		<input name=date type=date> <input name=month type=month> <input name=week type=week> <input name=time type=time>
		<input name=local type=datetime-local> <input name=color type=color> <textarea name=area>old
text</textarea> <label for=labelled>Your <i>name</i></label> <input name=labelled id=labelled> <input name=cleared value=something>
		<input type=checkbox name=box value=yes> <label><input type=radio name=radio value=a>A</label> <label><input type=radio name=radio value=b>B</label>
		<select name=one><option value=1>First<option value=2>Second <b>one</b></select>
		<select name=many multiple><option selected>x<option>y<option>z</select>
		<div contenteditable id=edit>old <b>text</b></div><input type=hidden name=edited>
		<script>document.querySelector("form").onsubmit = () => document.querySelector("[name=edited]").value = edit.innerText</script>`)
	want := map[string][]string{
		"text": {"after ü 漢字 🎉"}, "email": {"a@b.example"}, "password": {"s3 cret"}, "search": {"find"}, "tel": {"+49 1"}, "url": {"http://x/"},
		"number": {"2.5"}, "range": {"70"}, "date": {"2026-11-28"}, "month": {"2026-11"}, "week": {"2026-W48"}, "time": {"18:30"},
		"local": {"2026-11-28T18:30"}, "color": {"#00ff7f"}, "area": {"line 1\r\nline 2"},
	}
	on(t, p, url, func(ctx context.Context, tab *page.Tab) {
		fill := func(selector, text string) {
			t.Helper()
			if err := tab.Fill(ctx, &browserv1.FillRequest{Target: target(selector), Text: text}); err != nil {
				t.Error(err)
			}
		}
		for name, values := range want {
			fill("[name="+name+"]", values[0])
		}
		fill("text=Your name", "by its label")
		fill("[name=cleared]", "")
		fill("#edit", "new\nlines")
		for _, selector := range []string{"[name=box]", "text=B"} {
			if err := click(ctx, tab, selector); err != nil {
				t.Error(err)
			}
		}
		for selector, choose := range map[string][]string{"[name=one]": {"Second one"}, "[name=many]": {"z", "y"}} {
			if _, err := tab.Select(ctx, &browserv1.SelectRequest{Target: target(selector), Values: choose}); err != nil {
				t.Error(err)
			}
		}
		want["labelled"], want["cleared"], want["edited"] = []string{"by its label"}, []string{""}, []string{"new\nlines"}
		want["edited"] = []string{"new\r\nlines"}
		want["box"], want["radio"], want["one"], want["many"] = []string{"yes"}, []string{"b"}, []string{"2"}, []string{"y", "z"}
		if diff := cmp.Diff(want, send(ctx, t, tab)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatCannotBeFilledIsSaid(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := form(t, `<input id=disabled disabled><input id=readonly readonly><input type=checkbox id=box><input type=file id=file><input type=date id=date>
		<input type=range id=range max=50><input id=short maxlength=3><select id=list><option value=a>A<option>B<option disabled>C</select><p id=p>x</p>
		<input id=blurs onfocus="this.blur()"><input id=digits oninput="this.value = this.value.replace(/\D/g, '')">`)
	on(t, p, url, func(ctx context.Context, tab *page.Tab) {
		for selector, want := range map[string]struct {
			text string
			code codes.Code
			says string
		}{
			"#disabled": {"x", codes.FailedPrecondition, "it is disabled (waited 1.5s)"},
			"#readonly": {"x", codes.FailedPrecondition, "it is read-only (waited 1.5s)"},
			"#blurs":    {"x", codes.FailedPrecondition, "it does not take the focus (waited 1.5s)"},
			"#box":      {"x", codes.FailedPrecondition, "it is an input of type checkbox, which has no text: use Click"},
			"#file":     {"x", codes.FailedPrecondition, "it is a file input: use Upload"},
			"#list":     {"x", codes.FailedPrecondition, "it is a select element: choose with Select"},
			"#p":        {"x", codes.FailedPrecondition, "it is no input, textarea or editable element"},
			"#date":     {"28.11.2026", codes.InvalidArgument, "text: it is no value for an input of type date, such as 2026-11-28"},
			"#range":    {"70", codes.InvalidArgument, "text: it is no value for an input of type range, such as 50, from 0 to 50 in steps of 1"},
			"#short":    {"secret", codes.FailedPrecondition, "it has taken 3 of 6 characters; see its maxlength and scripts"},
			"#digits":   {"12ab", codes.FailedPrecondition, "it has taken 2 of 4 characters; see its maxlength and scripts"},
			"#none":     {"x", codes.NotFound, "no element fits (waited 1.5s)"},
		} {
			err := tab.Fill(ctx, &browserv1.FillRequest{Target: briefly(selector), Text: want.text})
			if s := status.Convert(err); s.Code() != want.code || strings.TrimPrefix(s.Message(), `selector "`+selector+`": `) != want.says {
				t.Errorf("%s: got %v, want %v: %s", selector, err, want.code, want.says)
			}
		}
		for want, request := range map[string]*browserv1.SelectRequest{
			`NotFound selector "#list": no option "D"; there are: "a" (A), "B", "C" (waited 1.5s)`: {Target: briefly("#list"), Values: []string{"D"}},
			`FailedPrecondition selector "#list": option "C" is disabled (waited 1.5s)`:            {Target: briefly("#list"), Values: []string{"C"}},
			`InvalidArgument values: 2, and the element takes one`:                                 {Target: briefly("#list"), Values: []string{"a", "B"}},
			`FailedPrecondition selector "#p": it is no select element`:                            {Target: briefly("#p"), Values: []string{"a"}},
		} {
			_, err := tab.Select(ctx, request)
			if s := status.Convert(err); s.Code().String()+" "+s.Message() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}

func TestScriptsSeeAFillAsTyping(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	// As React does: the value is the script's, which takes what an input event
	// brings only if it differs from what it set by the property.
	url := serve(t, map[string]string{"/": `<input id=i><input id=n type=number><select id=s><option>a<option>b</select><p id=out></p><script>
		var events = [], state = {}
		for (const e of [i, n, s]) {
			const native = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), "value")
			let known = native.get.call(e)
			Object.defineProperty(e, "value", { get() { return native.get.call(this) }, set(v) { known = String(v); native.set.call(this, v) } })
			for (const name of ["beforeinput", "input", "change"]) e.addEventListener(name, (ev) => {
				if (e === i) events.push(name + ":" + (ev.inputType || "") + ":" + ev.isTrusted)
				const now = native.get.call(e)
				if (name !== "input" || now === known) return
				known = now
				state[e.id] = now.toUpperCase()
				if (e === i) e.value = state[e.id]
			})
		}</script>`})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for selector, text := range map[string]string{"#i": "abc", "#n": "12"} {
			if err := tab.Fill(ctx, &browserv1.FillRequest{Target: target(selector), Text: text}); err != nil {
				t.Error(err)
			}
		}
		chosen, err := tab.Select(ctx, &browserv1.SelectRequest{Target: target("#s"), Values: []string{"b"}})
		if err != nil || len(chosen) != 1 || chosen[0] != "b" {
			t.Errorf("got %v, %v", chosen, err)
		}
		want := map[string]any{
			"state": map[string]any{"i": "ABC", "n": "12", "s": "B"}, "shown": "ABC",
			"events": []any{"beforeinput:insertText:true", "input:insertText:true"},
		}
		got := value(ctx, t, tab, "({state, shown: i.value, events: events.slice(0, 2)})")
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFilesAreUploaded(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := form(t, `<input type=file name=one id=one style="display:none"><label id=label for=one>Choose</label>
		<label><span id=inner>More</span><input type=file name=many multiple hidden></label>
		<div><div><input type=file name=near hidden></div><p><button type=button><b id=browse>Browse</b></button></p></div>
		<input type=file id=off disabled><input type=file id=folder webkitdirectory><p id=p>x</p>`)
	dir := t.TempDir() + "/uploads"
	file := func(name, content string) *browserv1.File {
		return &browserv1.File{Name: name, Content: []byte(content)}
	}
	on(t, p, url, func(ctx context.Context, tab *page.Tab) {
		for selector, files := range map[string][]*browserv1.File{
			"#label": {file("ä b.txt", "one")}, "text=More": {file("a.bin", "1"), file("a.bin", "2")}, "#browse": {file("c", "3")},
		} {
			if err := tab.Upload(ctx, &browserv1.UploadRequest{Target: target(selector), Files: files}, dir); err != nil {
				t.Error(err)
			}
		}
		for want, request := range map[string]*browserv1.UploadRequest{
			`FailedPrecondition selector "#one": it takes one file, not 2`:                          {Target: briefly("#one"), Files: []*browserv1.File{file("a", ""), file("b", "")}},
			`FailedPrecondition selector "#off": it is disabled (waited 1.5s)`:                      {Target: briefly("#off"), Files: []*browserv1.File{file("a", "")}},
			`FailedPrecondition selector "#folder": it takes a directory, which cannot be uploaded`: {Target: briefly("#folder"), Files: []*browserv1.File{file("a", "")}},
			`NotFound selector "#p": the element that fits has no file input (waited 1.5s)`:         {Target: briefly("#p"), Files: []*browserv1.File{file("a", "")}},
		} {
			err := tab.Upload(ctx, request, dir)
			if s := status.Convert(err); s.Code().String()+" "+s.Message() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		want := map[string][]string{
			"one": {"ä b.txt text/plain: one"}, "many": {"a.bin application/octet-stream: 1", "a.bin application/octet-stream: 2"}, "near": {"c application/octet-stream: 3"},
		}
		if diff := cmp.Diff(want, send(ctx, t, tab)); diff != "" {
			t.Error(diff)
		}
	})
}
