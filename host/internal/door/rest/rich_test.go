package rest_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/door/rest"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// calls is a gateway whose plugins are a function.
type calls func(method string, caller gateway.Caller) error

func (c calls) Call(method string, caller gateway.Caller) error { return c(method, caller) }

// richDoor is the door to a plugin that serves rich.v1, with all shapes that a
// message can have.
func richDoor(t testing.TB, c calls) *httptest.Server {
	t.Helper()
	reg := new(registry.Registry[*gateway.Subsystem])
	reg.Set("rich", describe(t, "../../cli/testdata/rich.binpb"), nil)
	s := httptest.NewUnstartedServer(rest.New(rest.Config{Calls: c, Registry: reg, Bodies: bodies.New(bodies.Size), Subsystems: func() []rest.State { return nil }}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// echo answers each message with itself.
func echo(_ string, caller gateway.Caller) error {
	for {
		message, err := caller.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := caller.Send(message); err != nil {
			return err
		}
	}
}

func postTo(t testing.TB, s *httptest.Server, path, body string, headers ...string) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		r.Header.Set(key, value)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	content, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{w, string(content)}
}

func TestEveryShapeOfAMessageIsJSON(t *testing.T) {
	s := richDoor(t, echo)
	for _, c := range []struct{ body, query, want string }{
		{`{"big":"9007199254740993","natural":4294967295,"ratio":0.5}`, "", `{"big":"9007199254740993","natural":4294967295,"ratio":0.5}`},
		{`{"small_size":7}`, "", `{"smallSize":7}`},
		{`{"level":"LOUD","levels":["QUIET"],"tags":["a"]}`, "", `{"level":"LOUD","tags":["a"],"levels":["QUIET"]}`},
		{`{"wait":"1.5s","at":"2026-01-02T03:04:05Z","maybe":"7","value":[1,null],"mask":"a,bC"}`, "",
			`{"wait":"1.500s","at":"2026-01-02T03:04:05Z","maybe":"7","value":[1,null],"mask":"a,bC"}`},
		{`{"any":{"@type":"type.googleapis.com/rich.v1.Point","x":1}}`, "", `{"any":{"@type":"type.googleapis.com/rich.v1.Point","x":1}}`},
		{`{"child":{"child":{"left":"<&>"}}}`, "", `{"child":{"child":{"left":"<&>"}}}`},
		{``, "?headers.X-Trace=a%3Db&point.x=1&tags=b&tags=a&size=1KiB&wait=90s", `{"size":"1024","tags":["b","a"],"headers":{"X-Trace":"a=b"},"point":{"x":1},"wait":"90s"}`},
		{`{"point":{"x":1}}`, "?point.y=2", `{"point":{"x":1,"y":2}}`},
		{``, "?body=1", ``}, // no such field, and no raw body that it could be about
	} {
		w := postTo(t, s, "/v1/rich/Rich.Echo"+c.query, c.body)
		if c.want == "" {
			if w.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: got %d %s", c.query, w.StatusCode, w.body)
			}
			continue
		}
		if w.StatusCode != http.StatusOK || w.body != c.want+"\n" {
			t.Errorf("%s%s: got %d %s", c.body, c.query, w.StatusCode, w.body)
		}
	}
}

func TestAnAmbiguousNameIsRefusedWithTheNamesThatAreNot(t *testing.T) {
	w := postTo(t, richDoor(t, echo), "/v1/rich/Echo", `{}`)
	if w.StatusCode != http.StatusBadRequest || !strings.Contains(w.body, "say which: Other.Echo, Rich.Echo") {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
}

func TestSecretsAreNotRepeatedInErrors(t *testing.T) {
	s := richDoor(t, echo)
	for _, w := range []answered{
		postTo(t, s, "/v1/rich/Rich.Echo", `{"pin":"hunter2"}`),
		postTo(t, s, "/v1/rich/Rich.Echo?pin=hunter2", ``),
	} {
		if w.StatusCode != http.StatusBadRequest || strings.Contains(w.body, "hunter2") {
			t.Errorf("got %d %s", w.StatusCode, w.body)
		}
	}
}

func TestOnlyWhatTracesACallCrosses(t *testing.T) {
	var got metadata.MD
	s := richDoor(t, func(method string, caller gateway.Caller) error {
		got, _ = metadata.FromIncomingContext(caller.Context())
		return echo(method, caller)
	})
	postTo(t, s, "/v1/rich/Rich.Echo", `{}`, "Traceparent: 00-1", "Tracestate: a=b", "Baggage: c=d", "Authorization: Bearer x",
		"Cookie: a=b", "Gaia-Subsystem: other", "Grpc-Timeout: 5S", "X-Other: y")
	want := metadata.MD{"gaia-subsystem": {"rich"}, "traceparent": {"00-1"}, "tracestate": {"a=b"}, "baggage": {"c=d"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDetailsOfAnErrorAreToldByTheirTypes(t *testing.T) {
	info, err := anypb.New(&errdetails.ErrorInfo{Reason: "TOO_LOUD", Domain: "rich"})
	if err != nil {
		t.Fatal(err)
	}
	s := richDoor(t, func(string, gateway.Caller) error {
		return status.ErrorProto(&spb.Status{Code: 9, Message: "no <b>", Details: []*anypb.Any{
			info,
			{TypeUrl: "type.googleapis.com/rich.v1.Point", Value: []byte{8, 7}},
			{TypeUrl: "type.googleapis.com/nobody.Knows", Value: []byte("abc")},
		}})
	})
	w := postTo(t, s, "/v1/rich/Rich.Echo", `{}`)
	want := `{"code":9,"message":"no <b>","details":[` +
		`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TOO_LOUD","domain":"rich"},` +
		`{"@type":"type.googleapis.com/rich.v1.Point","x":7},` +
		`{"@type":"type.googleapis.com/nobody.Knows","value":"` + base64.StdEncoding.EncodeToString([]byte("abc")) + `"}]}` + "\n"
	if w.StatusCode != http.StatusBadRequest || w.body != want {
		t.Errorf("got %d %s\nwant %s", w.StatusCode, w.body, want)
	}
}

func TestAnAnswerThatIsNoMessageIsThePluginsFault(t *testing.T) {
	s := richDoor(t, func(_ string, caller gateway.Caller) error { return caller.Send([]byte{0xff}) })
	if w := postTo(t, s, "/v1/rich/Rich.Echo", `{}`); w.StatusCode != http.StatusInternalServerError || w.fault(t).Code != 13 {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
}

// TestBothSidesOfAStreamTalkInTurn sends a message when the answer to the one
// before is there.
func TestBothSidesOfAStreamTalkInTurn(t *testing.T) {
	for version := 1; version <= 2; version++ {
		s := richDoor(t, echo)
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(version == 1)
		transport.Protocols.SetUnencryptedHTTP2(version == 2)
		defer transport.CloseIdleConnections()
		reader, writer := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/rich/Chat", reader)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		go func() { _, _ = io.WriteString(writer, `{"text":"0"}`+"\n") }()
		w, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(w.Body)
		for _, text := range []string{"0", "1", "2"} {
			if text != "0" {
				if _, err := io.WriteString(writer, `{"text":"`+text+`"}`); err != nil {
					t.Fatal(err)
				}
			}
			if want := `{"text":"` + text + `"}`; !lines.Scan() || lines.Text() != want {
				t.Fatalf("HTTP/%d: got %s, want %s: %v", version, lines.Text(), want, lines.Err())
			}
		}
		_ = writer.Close()
		if lines.Scan() || w.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("HTTP/%d: then %s, trailers %v", version, lines.Text(), w.Trailer)
		}
		_ = w.Body.Close()
	}
}

func TestARawStreamBeginsWithWhatTheQuerySays(t *testing.T) {
	var got []string
	s := richDoor(t, func(_ string, caller gateway.Caller) error {
		md := describe(t, "../../cli/testdata/rich.binpb").Methods()[1].Descriptor.Input()
		for {
			message, err := caller.Receive()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			m := newMessage(md)
			if err := proto.Unmarshal(message, m); err != nil {
				return err
			}
			text, err := protojson.Marshal(m)
			got = append(got, strings.ReplaceAll(string(text), " ", ""))
			if err != nil {
				return err
			}
		}
	})
	for _, c := range []struct {
		query, body string
		want        []string
	}{
		{"?text=a&point.x=1", "abc", []string{`{"text":"a","point":{"x":1}}`, `{"blob":"YWJj"}`}},
		{"", "abc", []string{`{"blob":"YWJj"}`}},
		{"?body=child.blob", "abc", []string{`{"child":{"blob":"YWJj"}}`}},
		{"?text=a", "", []string{`{"text":"a"}`}},
	} {
		got = nil
		postTo(t, s, "/v1/rich/Sum"+c.query, c.body, "Content-Type: application/octet-stream")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.query, diff)
		}
	}
}

func FuzzNoRequestBringsTheDoorDown(f *testing.F) {
	reg := new(registry.Registry[*gateway.Subsystem])
	reg.Set("rich", describe(f, "../../cli/testdata/rich.binpb"), nil)
	h := rest.New(rest.Config{Calls: calls(echo), Registry: reg, Bodies: bodies.New(bodies.Size), Subsystems: func() []rest.State { return nil }})
	for _, seed := range []struct{ method, query, contentType, accept, body string }{
		{"Rich.Echo", "text=a", "application/json", "", `{"child":{"blob":"YQ=="}}`},
		{"Chat", "", "application/x-ndjson", "image/*", `{"blob":"YQ=="} {"text":1}`},
		{"Sum", "body=child.blob&text=a", "image/png", "", "\x00\xff"},
		{"Count", "point=%7B%7D&any.x=1", "", "application/octet-stream", ""},
	} {
		f.Add(seed.method, seed.query, seed.contentType, seed.accept, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, query, contentType, accept string, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/rich/x", strings.NewReader(string(body)))
		r.URL.Path, r.URL.RawQuery = "/v1/rich/"+method, query
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept", accept)
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a value that was panicked with
				panic(p)
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}

// BenchmarkMessage is what the door itself takes of a small call: JSON to a
// message and back.
func BenchmarkMessage(b *testing.B) {
	reg := new(registry.Registry[*gateway.Subsystem])
	reg.Set("rich", describe(b, "../../cli/testdata/rich.binpb"), nil)
	h := rest.New(rest.Config{Calls: calls(echo), Registry: reg, Bodies: bodies.New(bodies.Size), Subsystems: func() []rest.State { return nil }})
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/rich/Rich.Echo", strings.NewReader(`{"text":"Ann"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
