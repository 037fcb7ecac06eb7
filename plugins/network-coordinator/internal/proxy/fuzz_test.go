package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// FuzzRequest holds the parser of heads against Go's: what it takes, Go's takes,
// and in the same way.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.0\r\n\r\n", "\r\nGET http://a HTTP/1.1\r\nHost:a\r\nA:\t b \r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "GET http://a/ HTTP/1.1\nHost: a\n\n", "G T / HTTP/1.1\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		in := &reader{}
		in.reset(iotest.OneByteReader(strings.NewReader(raw)))
		head, err := in.head(maxHead)
		if err != nil {
			return
		}
		if len(head) > maxHead || !strings.HasSuffix(head, "\r\n\r\n") {
			t.Fatalf("head of %d bytes: %.100q", len(head), head)
		}
		ours, err := parseRequest(head)
		if err != nil || ours.method == http.MethodConnect {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			return // Go reads URLs and Host at once, we do so later
		}
		if theirs.Method != ours.method || theirs.RequestURI != ours.target || theirs.ProtoMinor != ours.minor {
			t.Errorf("ours %+v, Go's %+v", ours, theirs)
		}
		for name, values := range theirs.Header {
			if got := ours.fields.values(name); strings.Join(got, "\n") != strings.Join(values, "\n") && name != "Cookie" {
				t.Errorf("%s: ours %q, Go's %q", name, got, values)
			}
		}
		x, err := ours.resource("")
		if err == nil && (x.to.Port == 0 || strings.ContainsAny(x.path+x.authority, "\r\n ") || !strings.HasPrefix(x.path, "/") && x.path != "*") {
			t.Errorf("resource %+v", x)
		}
	})
}

// FuzzChunks holds chunks as they are passed on against Go's reading of them: a
// body that is taken is passed on in such a way that Go reads the same.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n", "0\r\n\r\n", "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "g\r\n", "5\r\nhello!\r\n0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		read := func(decode bool) (string, error) {
			in := &reader{}
			in.reset(bytes.NewReader(raw))
			var out bytes.Buffer
			err := new(copier).copy(&out, in, body{chunked: true}, decode)
			return out.String(), err
		}
		passed, err := read(false)
		plain, err2 := read(true)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("as chunks: %v; decoded: %v", err, err2)
		}
		if err != nil {
			return
		}
		r, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+passed)), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != plain {
			t.Errorf("%q passed on as %q: Go reads %q, %v, want %q", raw, passed, got, err, plain)
		}
	})
}

// FuzzResponse looks for heads of responses that are no longer such once they are
// passed on.
func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	f.Add("HTTP/1.0 404 \r\nConnection: a,b\r\na: 1\r\n\r\n")
	s := &session{server: &Server{me: "gaia-x"}}
	f.Fuzz(func(t *testing.T, head string) {
		in := &reader{}
		in.reset(strings.NewReader(head))
		head, err := in.head(maxHead)
		if err != nil {
			return
		}
		r, err := parseResponse(head)
		if err != nil {
			return
		}
		b, err := bodyOf(r.fields, r.minor, untilClose)
		if err != nil {
			return
		}
		again, err := parseResponse(string(s.responseHead(r, b, false)))
		if err != nil || again.status != r.status || again.reason != r.reason {
			t.Errorf("%q: %+v, %v, want %+v", head, again, err, r)
		}
	})
}

// FuzzSOCKS talks to a server in all ways that there are, and expects it to live.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 66, 0, 80})
	f.Add([]byte{5, 1, 2, 1, 1, 'a', 1, 'b', 5, 1, 0, 3, 1, 'a', 0, 80})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := start(t, func(p *fixture) {
			p.server.SetGate(&Gate{Anonymous: true, Clients: map[string]Token{"a": NewToken("b")}, MaxConnections: 10})
			p.dialer.Policy, _ = egress.Compile(&egressv1.Egress{Default: egressv1.Egress_DENY}, nil)
		})
		c := p.dial()
		_, _ = c.Write(append([]byte{5}, raw...))
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
}
