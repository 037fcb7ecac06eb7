package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestACallIsJSONBothWays(t *testing.T) {
	for _, c := range []struct{ name, path, body, want string }{
		{"a body", "/v1/hello/Hello", `{"name":"Ann"}`, `{"text":"Hello, Ann!"}`},
		{"a query", "/v1/hello/Hello?name=Bob%20%26%20Ann", ``, `{"text":"Hello, Bob & Ann!"}`},
		{"a query and an empty message", "/v1/hello/Hello?name=Bob", `{}`, `{"text":"Hello, Bob!"}`},
		{"what looks like a file", "/v1/hello/Hello?name=@/etc/passwd", ``, `{"text":"Hello, @/etc/passwd!"}`},
		{"service and method", "/v1/hello/Greeter.Hello", `{"name":"Ann"}`, `{"text":"Hello, Ann!"}`},
		{"the full name", "/v1/hello/hello.v1.Greeter/Hello", `{"name":"Ann"}`, `{"text":"Hello, Ann!"}`},
		{"the other subsystem of the plugin", "/v1/seldom/Hello", `{"name":"Ann"}`, `{"text":"Hello, Ann!"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := post(t, c.path, c.body)
			if w.StatusCode != http.StatusOK || w.body != c.want+"\n" || w.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d %s, want %s", w.StatusCode, w.body, c.want)
			}
		})
	}
}

func TestABadRequestIsToldWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, method, path, contentType, body string
		status, code                          int
		words                                 string
	}{
		{"a misspelt field", "POST", "/v1/hello/Hello", "application/json", `{"nam":"Ann"}`, 400, 3, `did you mean \"name\"?`},
		{"a misspelt parameter", "POST", "/v1/hello/Hello?nam=Ann", "", ``, 400, 3, `did you mean \"name\"?`},
		{"a field given twice", "POST", "/v1/hello/Hello?name=Ann", "application/json", `{"name":"Bob"}`, 400, 3, "given twice"},
		{"no JSON", "POST", "/v1/hello/Hello", "application/json", `{"name":`, 400, 3, "unexpected"},
		{"more than one message", "POST", "/v1/hello/Hello", "application/json", `{} {}`, 400, 3, "unexpected token"},
		{"a query that is none", "POST", "/v1/hello/Hello?name=%zz", "", ``, 400, 3, "invalid URL escape"},
		{"a parameter without a value", "POST", "/v1/hello/Hello?name", "", ``, 400, 3, "is not field=value"},
		{"a deadline that is none", "POST", "/v1/hello/Hello?timeout", "", ``, 400, 3, "is not field=value"},
		{"an unknown subsystem", "POST", "/v1/helo/Hello", "application/json", `{}`, 404, 5, `did you mean \"hello\"?`},
		{"an unknown method", "POST", "/v1/hello/Helo", "application/json", `{}`, 404, 5, `did you mean \"Hello\"?`},
		{"a method like no other", "POST", "/v1/hello/Zzzzz", "application/json", `{}`, 404, 5, `GET /v1/hello lists its methods`},
		{"a wrong verb", "DELETE", "/v1/hello/Hello", "", ``, 405, 12, "takes GET, HEAD, POST, PUT, not DELETE"},
		{"a wrong verb of a list", "POST", "/v1", "", ``, 405, 12, "takes GET, HEAD, not POST"},
		{"text", "POST", "/v1/hello/Hello", "text/plain", `{"name":"Ann"}`, 415, 3, "curl --json"},
		{"no type", "POST", "/v1/hello/Hello", "-", `{"name":"Ann"}`, 415, 3, "curl --json"},
		{"another charset", "POST", "/v1/hello/Hello", "application/json; charset=latin1", `{"name":"Ann"}`, 415, 3, "JSON is UTF-8"},
		{"bytes for who has none", "POST", "/v1/hello/Hello", "application/octet-stream", `Ann`, 415, 3, "has no bytes field"},
		{"what the plugin refuses", "POST", "/v1/hello/Countdown", "application/json", `{"from":101}`, 400, 3, "at most 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.contentType != "" {
				headers = append(headers, "Content-Type: "+strings.TrimPrefix(c.contentType, "-"))
			}
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			w := ask(t, c.method, c.path, body, headers...)
			if w.StatusCode != c.status || w.fault(t).Code != c.code || !strings.Contains(w.body, c.words) {
				t.Errorf("got %d %s\nwant %d, code %d, %s", w.StatusCode, w.body, c.status, c.code, c.words)
			}
			if allow := w.Header.Get("Allow"); (allow != "") != (c.status == 405) {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

func TestACodeHasAFittingHTTPStatus(t *testing.T) {
	write(t, "there.txt", "x")
	for _, c := range []struct {
		name, path   string
		status, code int
	}{
		{"NotFound", "/v1/files/Stat?root=all&path=nowhere", 404, 5},
		{"AlreadyExists", "/v1/files/WriteFile?root=all&path=there.txt&options.create_only=true", 409, 6},
		{"Aborted", "/v1/files/WriteFile?root=all&path=there.txt&options.if_match=x", 409, 10},
		{"InvalidArgument", "/v1/files/Stat?root=all&path=../x", 400, 3},
		{"FailedPrecondition", "/v1/files/List?root=all&path=there.txt", 400, 9},
	} {
		if w := post(t, c.path, ""); w.StatusCode != c.status || w.fault(t).Code != c.code {
			t.Errorf("%s: got %d %s", c.name, w.StatusCode, w.body)
		}
	}
}

func TestARateThatIsUsedUpSaysWhenToComeAgain(t *testing.T) {
	post(t, "/v1/seldom/Hello", `{}`)
	w := post(t, "/v1/seldom/Hello", `{}`)
	seconds, err := strconv.Atoi(w.Header.Get("Retry-After"))
	if w.StatusCode != http.StatusTooManyRequests || w.fault(t).Code != 8 || err != nil || seconds < 1 || seconds > 3600 {
		t.Errorf("got %d, Retry-After %q: %s", w.StatusCode, w.Header.Get("Retry-After"), w.body)
	}
}

func TestAServerStreamIsALineForAMessage(t *testing.T) {
	w := post(t, "/v1/hello/Countdown", `{"from":2}`)
	if want := "{\"left\":2}\n{\"left\":1}\n{}\n"; w.body != want || w.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("got %s of type %s", w.body, w.Header.Get("Content-Type"))
	}
	if got := w.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("Grpc-Status %q", got)
	}
}

func TestAMessageOfAStreamIsThereBeforeTheNext(t *testing.T) {
	if err := os.MkdirAll(filepath.Join(door.root, "watched"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	w, err := http.DefaultClient.Do(newRequest(t, "POST", "/v1/files/Watch?root=all&path=watched", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	lines := bufio.NewScanner(w.Body)
	for i := range 3 { // each is made when the one before was seen
		name := fmt.Sprintf("watched/%d.txt", i)
		write(t, name, "x")
		for lines.Scan() && !strings.Contains(lines.Text(), name) {
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
}

func TestAnErrorWithinAStreamIsItsLastLine(t *testing.T) {
	if err := os.MkdirAll(filepath.Join(door.root, "ending"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A read of the answer's head tells that the stream has begun.
	w := ask(t, "POST", "/v1/files/Watch?root=all&path=ending&existing=true", nil, "Gaia-Timeout: 1s")
	lines := strings.Split(strings.TrimSpace(w.body), "\n")
	last := lines[len(lines)-1]
	if w.StatusCode != http.StatusOK || !strings.HasPrefix(last, `{"error":{"code":4,"message":"`) {
		t.Errorf("got %d, last line %s", w.StatusCode, last)
	}
	if w.Trailer.Get("Grpc-Status") != "4" || w.Trailer.Get("Grpc-Message") == "" {
		t.Errorf("trailers %v", w.Trailer)
	}
}

func TestADeadlineIsKept(t *testing.T) {
	for _, header := range []string{"Gaia-Timeout: 1ns", "Grpc-Timeout: 1n"} {
		if w := post(t, "/v1/hello/Hello", `{"name":"Ann"}`, header); w.StatusCode != http.StatusGatewayTimeout || w.fault(t).Code != 4 {
			t.Errorf("%s: got %d %s", header, w.StatusCode, w.body)
		}
	}
	for _, header := range []string{"Gaia-Timeout: 5", "Gaia-Timeout: -1s", "Grpc-Timeout: 5s", "Grpc-Timeout: 123456789S"} {
		if w := post(t, "/v1/hello/Hello", `{"name":"Ann"}`, header); w.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", header, w.StatusCode, w.body)
		}
	}
	if w := post(t, "/v1/hello/Hello", `{"name":"Ann"}`, "Gaia-Timeout: 1m"); w.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
}

func TestACallerWhoLeavesTakesTheCallAlong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := http.DefaultClient.Do(newRequest(t, "POST", "/v1/files/Watch?root=all&existing=true", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = w.Body.Close()
	await(t, func() bool { return strings.Contains(metrics(t), "gaia_calls_in_flight{subsystem=\"files\"} 0\n") })
}

func TestAClientStreamTakesAValueForAMessage(t *testing.T) {
	for _, c := range []struct{ name, path, body string }{
		{"lines", "/v1/files/Write", `{"root":"all","path":"lines.txt","content":"` + base64.StdEncoding.EncodeToString([]byte("one ")) + "\"}\n" +
			`{"content":"` + base64.StdEncoding.EncodeToString([]byte("two")) + `"}`},
		{"the first by the query", "/v1/files/Write?root=all&path=lines.txt", `{"content":"b25lIA=="} {"content":"dHdv"}`},
	} {
		w := ask(t, "POST", c.path, strings.NewReader(c.body), "Content-Type: application/x-ndjson")
		if got := read(t, "lines.txt"); w.StatusCode != http.StatusOK || got != "one two" {
			t.Errorf("%s: %d %s; the file has %q", c.name, w.StatusCode, w.body, got)
		}
	}
	w := post(t, "/v1/files/Write?root=all&path=never.txt", `{"content":"b25lIA=="} {"contend":"dHdv"}`)
	if w.StatusCode != http.StatusBadRequest || !strings.Contains(w.body, `message 2: (line 1:2): unknown field \"contend\"; did you mean \"content\"?`) {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
	if _, err := os.Stat(filepath.Join(door.root, "never.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a stream that broke off there is a file: %v", err)
	}
}

func TestAFieldOfBytesIsARawBody(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	for _, c := range []struct{ name, method, path, contentType string }{
		{"one message", "POST", "/v1/files/WriteFile?root=all&path=raw.bin", "application/octet-stream"},
		{"one message of an image", "POST", "/v1/files/WriteFile?root=all&path=raw.bin&body=content", "image/png"},
		{"a stream", "POST", "/v1/files/Write?root=all&path=raw.bin", "application/octet-stream"},
		{"a stream, put", "PUT", "/v1/files/Write?root=all&path=raw.bin", ""},
	} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(content)
			if chunked {
				body = io.MultiReader(body)
			}
			w := ask(t, c.method, c.path, body, "Content-Type: "+c.contentType)
			if got := read(t, "raw.bin"); w.StatusCode != http.StatusOK || got != content {
				t.Errorf("%s (chunked %t): %d %s; the file has %d bytes", c.name, chunked, w.StatusCode, w.body, len(got))
			}
			_ = os.Remove(filepath.Join(door.root, "raw.bin"))
		}
	}
}

func TestAnAnswerIsTheContentOfItsBytesField(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<18)
	write(t, "down.bin", content)
	for _, method := range []string{"Read", "ReadFile"} {
		w := ask(t, "POST", "/v1/files/"+method+"?root=all&path=down.bin", nil, "Accept: application/octet-stream")
		if w.StatusCode != http.StatusOK || w.body != content || w.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %d, %d bytes of %s", method, w.StatusCode, len(w.body), w.Header.Get("Content-Type"))
		}
		if got := w.Header.Get("Gaia-Entry-Size"); got != strconv.Itoa(len(content)) {
			t.Errorf("%s: Gaia-Entry-Size %q", method, got)
		}
	}
	w := ask(t, "POST", "/v1/files/Read?root=all&path=nowhere", nil, "Accept: application/octet-stream")
	if w.StatusCode != http.StatusNotFound || w.fault(t).Code != 5 {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
	w = ask(t, "POST", "/v1/files/Stat?root=all&path=down.bin", nil, "Accept: application/octet-stream")
	if w.StatusCode != http.StatusNotAcceptable {
		t.Errorf("got %d %s", w.StatusCode, w.body)
	}
}

func TestAnAnswerThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	fill(t, "endless.bin", 512<<20)
	w, err := http.DefaultClient.Do(newRequest(t, "POST", "/v1/files/Read?root=all&path=endless.bin", nil,
		"Accept: application/octet-stream", "Gaia-Timeout: 2s"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(w.Body, first); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return strings.Contains(metrics(t), "gaia_calls_in_flight{subsystem=\"files\"} 0\n") })
	if n, err := io.Copy(io.Discard, w.Body); err == nil {
		t.Errorf("%d bytes were read, and then the end", n)
	}
}

// TestMemoryIsBoundedHoweverMuchPasses sends and fetches more than may be held.
func TestMemoryIsBoundedHoweverMuchPasses(t *testing.T) {
	const size, most = 256 << 20, 128 << 20 // the race detector's shadows of some buffers included
	peak := watchHeap(t)
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(zeros{}, size), sum)
	w := ask(t, "PUT", "/v1/files/Write?root=all&path=huge.bin", body)
	if w.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", w.StatusCode, w.body)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(door.root, "huge.bin")) })
	r, err := http.DefaultClient.Do(newRequest(t, "POST", "/v1/files/Read?root=all&path=huge.bin", nil, "Accept: application/octet-stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got := sha256.New()
	if _, err := io.Copy(got, r.Body); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
	if p := peak(); p > most {
		t.Errorf("the heap grew to %d MiB, at most %d MiB", p>>20, most>>20)
	}
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	for _, contentType := range []string{"application/json", "application/octet-stream"} {
		for _, length := range []int64{65 << 20, -1} {
			r := newRequest(t, "POST", "/v1/files/WriteFile?root=all&path=large.bin", io.LimitReader(zeros{}, 65<<20), "Content-Type: "+contentType)
			r.ContentLength = length
			w, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Body.Close()
			if body, err := io.ReadAll(w.Body); err != nil || w.StatusCode != http.StatusRequestEntityTooLarge || !bytes.Contains(body, []byte("the limit for one message")) {
				t.Errorf("%s, length %d: got %d %s, %v", contentType, length, w.StatusCode, body, err)
			}
		}
	}
}

func TestCurlSendsAndFetchesFiles(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not there")
	}
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up.bin"), filepath.Join(dir, "down.bin")
	content := strings.Repeat("0123456789abcdef", 1<<17)
	if err := os.WriteFile(up, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	curl := func(args ...string) string {
		args = append([]string{"-sS", "--fail-with-body", "--max-time", "30", "-H", "Authorization: Bearer " + door.token}, args...)
		output, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
		if err != nil {
			t.Errorf("curl %q: %v\n%s", args, err, output)
		}
		return string(output)
	}
	curl("-T", up, door.url+"/v1/files/Write?root=all&path=curled.bin")
	curl("-X", "POST", "-H", "Accept: application/octet-stream", "-o", down, door.url+"/v1/files/Read?root=all&path=curled.bin")
	if got, err := os.ReadFile(down); err != nil || string(got) != content {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if got := curl("--json", `{"name":"Ann"}`, door.url+"/v1/hello/Hello"); got != "{\"text\":\"Hello, Ann!\"}\n" {
		t.Errorf("got %s", got)
	}
	if got := curl("-X", "POST", door.url+"/v1/hello/Countdown?from=1"); got != "{\"left\":1}\n{}\n" {
		t.Errorf("got %s", got)
	}
	if got := curl(door.url + "/v1/hello"); !strings.Contains(got, `"path":"/v1/hello/Countdown"`) {
		t.Errorf("got %s", got)
	}
}

// BenchmarkCall is a small call by HTTP and JSON to a plugin and back, with the
// client in the same process.
func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if w := post(b, "/v1/hello/Hello", `{"name":"Ann"}`); w.StatusCode != http.StatusOK {
			b.Fatal(w.body)
		}
	}
}

func TestABodyThatIsCodedIsNotTakenForContent(t *testing.T) {
	for coding, want := range map[string]int{"gzip": http.StatusUnsupportedMediaType, "br": http.StatusUnsupportedMediaType, "identity": http.StatusOK} {
		got := ask(t, "POST", "/v1/hello/Hello", strings.NewReader(`{"name":"Ann"}`), "Content-Type: application/json", "Content-Encoding: "+coding)
		if got.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", coding, got.StatusCode, got.body, want)
		}
	}
}
