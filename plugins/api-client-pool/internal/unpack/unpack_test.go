package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// packers pack by each coding.
func packers(tb testing.TB) map[string]func([]byte) []byte {
	tb.Helper()
	pack := func(open func(io.Writer) io.WriteCloser) func([]byte) []byte {
		return func(plain []byte) []byte {
			var packed bytes.Buffer
			w := open(&packed)
			if _, err := w.Write(plain); err != nil {
				tb.Fatal(err)
			}
			if err := w.Close(); err != nil {
				tb.Fatal(err)
			}
			return packed.Bytes()
		}
	}
	return map[string]func([]byte) []byte{
		"gzip": pack(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"br":   pack(func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 4) }),
		"zstd": pack(func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				tb.Fatal(err)
			}
			return z
		}),
	}
}

// text is some that packs well, but not to nothing.
func text(size int) []byte {
	words := []string{"one", "two", "three", "four", "\n"}
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.Bytes()[:size]
}

// answer is a response and its body.
type answer struct {
	*http.Response

	body []byte
}

// get sends a request to a server that answers with body and the headers, and
// reads what comes back.
func get(t *testing.T, u *Unpacker, body []byte, headers http.Header, request http.Header) (answer, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), headers)
		w.Header().Set("X-Asked", r.Header.Get("Accept-Encoding"))
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "text/plain")
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if request != nil {
		r.Header = request
	}
	response, err := u.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return answer{response, got}, err
}

func fresh(t *testing.T) *Unpacker {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return New(transport)
}

func TestEachCodingIsUnpacked(t *testing.T) {
	u := fresh(t)
	plain := text(300_000)
	pack := packers(t)
	tests := []struct {
		codings []string // values of Content-Encoding
		body    []byte
		want    []byte
		left    string // Content-Encoding that is left
	}{
		{[]string{"gzip"}, pack["gzip"](plain), plain, ""},
		{[]string{"x-gzip"}, pack["gzip"](plain), plain, ""},
		{[]string{"GZip"}, pack["gzip"](plain), plain, ""},
		{[]string{"br"}, pack["br"](plain), plain, ""},
		{[]string{"zstd"}, pack["zstd"](plain), plain, ""},
		{[]string{"gzip, br"}, pack["br"](pack["gzip"](plain)), plain, ""},
		{[]string{"gzip", "zstd"}, pack["zstd"](pack["gzip"](plain)), plain, ""},
		{[]string{"identity"}, plain, plain, "identity"},
		{[]string{"identity, gzip"}, pack["gzip"](plain), plain, ""},
		{[]string{"rot13, gzip"}, pack["gzip"](plain), plain, "rot13"},
		{[]string{"gzip, rot13"}, plain, plain, "gzip, rot13"},
		{[]string{"gzip, gzip, gzip, gzip, gzip"}, plain, plain, "gzip, gzip, gzip, gzip, gzip"},
		{[]string{"gzip"}, append(pack["gzip"](plain), pack["gzip"](plain)...), append(bytes.Clone(plain), plain...), ""}, // RFC 1952, 2.2
		{[]string{"zstd"}, append(pack["zstd"](plain), pack["zstd"](plain)...), append(bytes.Clone(plain), plain...), ""}, // RFC 8878, 3.1
		{[]string{"gzip"}, pack["gzip"](nil), nil, ""},
		{[]string{"br"}, pack["br"](nil), nil, ""},
	}
	for _, test := range tests {
		for range 2 { // with new decoders, and with used ones
			response, err := get(t, u, test.body, http.Header{"Content-Encoding": test.codings}, nil)
			got := response.body
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("%q: got %d bytes and %v, want %d", test.codings, len(got), err, len(test.want))
			}
			if left := response.Header.Get("Content-Encoding"); left != test.left {
				t.Errorf("%q: Content-Encoding: got %q, want %q", test.codings, left, test.left)
			}
			if unpacked := test.left != test.codings[0]; response.Uncompressed != unpacked ||
				unpacked && (response.ContentLength != -1 || response.Header.Get("Content-Length") != "") {
				t.Errorf("%q: got a length of %d, %q, unpacked %v", test.codings, response.ContentLength, response.Header.Get("Content-Length"), response.Uncompressed)
			}
			if asked := response.Header.Get("X-Asked"); asked != "gzip, br, zstd" {
				t.Errorf("asked for %q", asked)
			}
		}
	}
}

func TestWhoAsksForItselfGetsItAsItCame(t *testing.T) {
	packed := packers(t)["gzip"](text(1000))
	for _, header := range []http.Header{{"Accept-Encoding": {"gzip"}}, {"Range": {"bytes=0-"}}, {"Accept-Encoding": nil}} {
		response, err := get(t, fresh(t), packed, http.Header{"Content-Encoding": {"gzip"}}, header.Clone())
		got := response.body
		if err != nil || !bytes.Equal(got, packed) || response.Header.Get("Content-Encoding") != "gzip" || response.Uncompressed {
			t.Errorf("%v: got %d bytes and %v, want %d", header, len(got), err, len(packed))
		}
	}
}

func TestABodyThatIsNoneOfItsCodingIsAnError(t *testing.T) {
	u := fresh(t)
	plain := text(100_000)
	for coding, pack := range packers(t) {
		packed := pack(plain)
		damaged := bytes.Clone(packed)
		for i := len(damaged) / 2; i < len(damaged)/2+50; i++ {
			damaged[i] ^= 0x55
		}
		tests := map[string]struct {
			body []byte
			want string
		}{
			"plain text":     {[]byte("plain text, not packed at all"), coding + ": "},
			"cut off":        {packed[:len(packed)/2], coding + ": cut off"},
			"damaged":        {damaged, coding + ": "},
			"something more": {append(bytes.Clone(packed), "and more"...), coding + ": "},
		}
		for name, test := range tests {
			for range 2 {
				broken, err := get(t, u, test.body, http.Header{"Content-Encoding": {coding}}, nil)
				got := broken.body
				if err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%s, %s: got %d bytes and %v, want an error %s…", coding, name, len(got), err, test.want)
				}
			}
		}
		// The decoder that met it is as good as new.
		if after, err := get(t, u, packed, http.Header{"Content-Encoding": {coding}}, nil); err != nil || !bytes.Equal(after.body, plain) {
			t.Errorf("%s, after that: got %d bytes and %v", coding, len(after.body), err)
		}
	}
}

func TestABodyThatBreaksOffIsTheConnectionsFault(t *testing.T) {
	for coding, pack := range packers(t) {
		packed := pack(text(100_000))
		headers := http.Header{"Content-Encoding": {coding}, "Content-Length": {strconv.Itoa(len(packed) + 1)}}
		_, err := get(t, fresh(t), packed[:len(packed)/2], headers, nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want %v", coding, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestBodilessResponsesAreLeftAlone(t *testing.T) {
	u := fresh(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.WriteHeader(status)
	}))
	defer server.Close()
	for _, test := range []struct{ method, path string }{{"HEAD", "/200"}, {"GET", "/204"}, {"GET", "/304"}, {"GET", "/200"}} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := u.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || len(got) != 0 {
			t.Errorf("%s %s: got %q and %v, want nothing", test.method, test.path, got, err)
		}
	}
}

// A window of 2 GiB is a few bytes to ask for.
func TestAWindowThatIsTooLargeIsRefusedBeforeItIsMade(t *testing.T) {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00} // RFC 8878, 3.1.1: 2^(10+21) bytes
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := get(t, fresh(t), frame, http.Header{"Content-Encoding": {"zstd"}}, nil)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "zstd: window size exceeded") {
		t.Errorf("got %v, want a refused window", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("allocated %d bytes", got)
	}
}

func TestDecodersAreSharedByManyAndLeaveNoGoroutine(t *testing.T) {
	plain := text(50_000)
	synctest.Test(t, func(t *testing.T) { // which does not end before all goroutines have
		u := New(nil)
		for coding, pack := range packers(t) {
			packed := pack(plain)
			for range 20 {
				go func() {
					response := packedResponse(coding, bytes.NewReader(packed))
					u.unpack(t.Context(), response)
					if got, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%s: got %d bytes and %v", coding, len(got), err)
					}
					_ = response.Body.Close()
					if n, err := response.Body.Read(make([]byte, 1)); n != 0 || err == nil {
						t.Errorf("%s: after Close: got %d bytes and %v", coding, n, err)
					}
				}()
			}
		}
		synctest.Wait()
	})
}

// packedResponse has a body of that coding.
func packedResponse(coding string, body io.Reader) *http.Response {
	return &http.Response{StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Encoding": {coding}}, Body: io.NopCloser(body)}
}

// endless has the same bytes again and again.
type endless struct{ bytes []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.bytes), nil }

// Empty members of gzip come from nothing and become nothing, for ever: whoever
// reads the body never gets a byte, and the server need not send any.
func TestAReadThatUnpacksNothingEndsWithTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	empty := packers(t)["gzip"](nil)
	response := packedResponse("gzip", endless{empty})
	New(nil).unpack(ctx, response)
	defer response.Body.Close()
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestAServerThatIsSlowTakesNoTurnFromOthers(t *testing.T) {
	u := New(nil)
	var writers []*io.PipeWriter
	var wg sync.WaitGroup
	for range 2 * cap(u.turns) {
		r, w := io.Pipe()
		writers = append(writers, w)
		response := packedResponse("gzip, zstd", r)
		u.unpack(t.Context(), response)
		wg.Go(func() { _, _ = io.ReadAll(response.Body) })
		_, _ = w.Write([]byte{0x28}) // returns when the body is being read
	}
	response := packedResponse("br", bytes.NewReader(packers(t)["br"]([]byte("quick"))))
	u.unpack(t.Context(), response)
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != "quick" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, w := range writers {
		_ = w.Close()
	}
	wg.Wait()
	if n := len(u.turns); n != 0 {
		t.Errorf("%d turns were not given back", n)
	}
}

func FuzzAnyBodyEndsOrIsAnError(f *testing.F) {
	for coding, pack := range packers(f) {
		f.Add(coding, pack([]byte("hello")))
	}
	u := New(nil)
	f.Fuzz(func(t *testing.T, coding string, packed []byte) {
		response := packedResponse(coding, bytes.NewReader(packed))
		u.unpack(t.Context(), response)
		got, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		if !response.Uncompressed {
			if diff := cmp.Diff(string(packed), string(got)); diff != "" || err != nil {
				t.Errorf("%q was left packed: %v, %s", coding, err, diff)
			}
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}
