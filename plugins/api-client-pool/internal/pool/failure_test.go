package pool

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// short is a limit that the tests below wait for.
const short = 50 * time.Millisecond

// asked makes p resolve names at a name server that talk plays.
func asked(t *testing.T, p *Pool, talk func(net.PacketConn)) {
	t.Helper()
	server, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); talk(server) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	s := p.client.settings
	s.resolver = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		},
	}
	if err := p.use(s); err != nil {
		t.Fatal(err)
	}
}

// hosts is a name server that knows the names in at.
func hosts(at map[string]netip.Addr) func(net.PacketConn) {
	return func(server net.PacketConn) {
		packet := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(packet[:n]) != nil || len(message.Questions) != 1 {
				continue
			}
			question := message.Questions[0]
			message.Response, message.Authoritative, message.Additionals = true, true, nil
			header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
			addr, known := at[strings.TrimSuffix(question.Name.String(), ".")]
			switch {
			case !known:
				message.RCode = dnsmessage.RCodeNameError
			case question.Type == dnsmessage.TypeA && addr.Is4():
				message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}}}
			case question.Type == dnsmessage.TypeAAAA && addr.Is6():
				message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
			}
			if packed, err := message.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}
}

// here is the address of the tests' servers.
func here() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// mute is a name server that never answers.
func mute(server net.PacketConn) {
	for {
		if _, _, err := server.ReadFrom(make([]byte, 512)); err != nil {
			return
		}
	}
}

// unknown is a name server that knows no name.
func unknown(server net.PacketConn) {
	packet := make([]byte, 512)
	for {
		n, from, err := server.ReadFrom(packet)
		if err != nil {
			return
		}
		packet[2], packet[3] = 0x84, 0x03 // an authoritative answer: NXDOMAIN
		_, _ = server.WriteTo(packet[:n], from)
	}
}

// refused is an address at which nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestAFailureNamesItsPhaseAndItsServer(t *testing.T) {
	tests := []struct {
		name   string
		config *apiv1.Config
		dns    func(net.PacketConn)
		talk   func(net.Conn) // nil: nobody listens
		scheme string
		want   string
	}{
		{name: "resolve", dns: unknown, want: "GET no.such.test:80: resolve: lookup no.such.test"},
		{name: "resolve in time", dns: mute, config: &apiv1.Config{ConnectTimeout: durationpb.New(short)},
			want: "GET no.such.test:80: resolve: no connection within 50ms (connect_timeout): "},
		{name: "connect", want: ": connect: dial tcp 127.0.0.1:"},
		{name: "tls, no TLS", scheme: "https", talk: func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp.example.com\r\n\r\n") },
			want: ": tls: tls: first record does not look like a TLS handshake"},
		{name: "tls, closed", scheme: "https", talk: func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }, want: ": tls: the server closed the connection"},
		{name: "tls in time", scheme: "https", config: &apiv1.Config{TlsTimeout: durationpb.New(short)},
			talk: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, want: ": tls: no handshake within 50ms (tls_timeout)"},
		{name: "headers, closed", talk: func(c net.Conn) { readRequest(c) }, want: ": headers: the server closed the connection"},
		{name: "headers, cut", talk: answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), want: ": headers: the server closed the connection"},
		{name: "headers, not HTTP", talk: answer("220 smtp.example.com\r\n\r\n"), want: ": headers: "},
		{name: "headers, an echo", talk: func(c net.Conn) { _, _ = io.Copy(c, c) }, want: ": headers: malformed HTTP status code …"},
		{name: "headers, a status and an echo", want: ": headers: malformed MIME header: missing colon: …", talk: func(c net.Conn) {
			request := make([]byte, 4096)
			n, _ := c.Read(request)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+string(request[:n]))
		}},
		{name: "headers, garbage", talk: answer(strings.Repeat("\xff\x00", 5000) + "\r\n\r\n"), want: ": headers: "},
		{name: "headers, a status that is none", talk: answer("HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n"), want: ": headers: the server answered with status 999"},
		{name: "headers, a status below", talk: answer("HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"), want: ": headers: the server answered with status 99"},
		{name: "headers, protocol switched unasked", talk: answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
			want: ": headers: the server answered with status 101"},
		{name: "headers, two lengths", talk: answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"), want: ": headers: "},
		{name: "body, half", talk: answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!"), want: ": body: after 5 of 10 bytes: the server closed the connection"},
		{name: "body, half a chunk", talk: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"), want: ": body: after 3 bytes: the server closed the connection"},
		{name: "body, bad chunk", talk: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), want: ": body: after 0 bytes: invalid byte in chunk length"},
		{name: "body, gzip that is none", talk: answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain text"), want: ": body: after 0 bytes: gzip: invalid header"},
		{name: "body, gzip cut off", talk: answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00"),
			want: ": body: after 0 bytes: gzip: cut off: the body is complete, what is packed in it is not"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := open(t, test.config)
			host := "no.such.test"
			switch {
			case test.dns != nil:
				asked(t, p, test.dns)
			case test.talk != nil:
				host = misbehave(t, test.talk)
			default:
				host = refused(t)
			}
			scheme := "http"
			if test.scheme != "" {
				scheme = test.scheme
			}
			_, err := do(t, p, &apiv1.DoRequest{Url: scheme + "://" + host + "/secret?token=secret"})
			wantError(t, err, codes.Unavailable, "GET "+host, test.want)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats the url: %v", err)
			}
			if text := status.Convert(err).Message(); len(text) > 400 || strings.ToValidUTF8(text, "") != text {
				t.Errorf("the error is %d bytes long, or not UTF-8: %q", len(text), text)
			}
		})
	}
}

func TestACertificateThatNobodyVouchesForFailsTheHandshake(t *testing.T) {
	server := serveTLS(t, func(http.ResponseWriter, *http.Request) {})
	_, err := do(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.Unavailable, ": tls: tls: failed to verify certificate: x509: certificate signed by unknown authority")
}

func TestADeadlineNamesThePhaseInWhichItStruck(t *testing.T) {
	hang := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	tests := []struct {
		phase  string
		scheme string
		dns    func(net.PacketConn)
		talk   func(net.Conn)
		body   int
	}{
		{phase: "resolve", scheme: "http", dns: mute},
		{phase: "tls", scheme: "https", talk: hang},
		{phase: "send", scheme: "http", talk: nil, body: 32 << 20},
		{phase: "headers", scheme: "http", talk: silence},
		{phase: "body", scheme: "http", talk: func(c net.Conn) { answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")(c); hang(c) }},
	}
	for _, test := range tests {
		for _, byField := range []bool{false, true} {
			t.Run(test.phase, func(t *testing.T) {
				t.Parallel()
				p := open(t, &apiv1.Config{MaxRequestBody: 32 << 20})
				request := &apiv1.DoRequest{Url: test.scheme + "://no.such.test", Body: make([]byte, test.body)}
				if test.dns != nil {
					asked(t, p, test.dns)
				} else {
					talk := test.talk
					if talk == nil { // reads some bytes and then no more
						talk = func(c net.Conn) { _, _ = c.Read(make([]byte, 100)); <-t.Context().Done() }
					}
					request.Url = test.scheme + "://" + misbehave(t, talk)
				}
				ctx, cancel := context.WithTimeout(t.Context(), bound)
				if byField {
					request.Timeout = durationpb.New(5 * short)
				} else {
					ctx, cancel = context.WithTimeout(t.Context(), 5*short)
				}
				defer cancel()
				_, err := p.Do(ctx, request)
				wantError(t, err, codes.DeadlineExceeded, ": "+test.phase+": deadline exceeded after ")
			})
		}
	}
}

func TestTheTimeoutOfARequestCannotLengthenTheCallsDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, err := open(t, nil).Do(ctx, &apiv1.DoRequest{Url: "http://" + misbehave(t, silence), Timeout: durationpb.New(time.Hour)})
	wantError(t, err, codes.DeadlineExceeded, "headers")
}

func TestTheTimeoutCoversRedirects(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		http.Redirect(w, r, "/slow", http.StatusFound)
	})
	_, err := do(t, open(t, nil), &apiv1.DoRequest{Url: server.URL, Timeout: durationpb.New(5 * short)})
	wantError(t, err, codes.DeadlineExceeded, "headers")
}

func TestACallerWhoGivesUpIsCanceledAndItsServerSeesIt(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		began, ended := make(chan struct{}), make(chan struct{})
		server := serveTLS(t, func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(ended)
		})
		p := open(t, &apiv1.Config{DisableHttp2: !http2})
		trust(t, p, server)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		_, err := p.Do(ctx, &apiv1.DoRequest{Url: server.URL})
		wantError(t, err, codes.Canceled, ": canceled by the caller after ")
		select {
		case <-ended:
		case <-time.After(bound):
			t.Errorf("HTTP/2 %v: the server was not told", http2)
		}
	}
}

// The regression test of a pool in which impatient callers made a healthy
// server look broken: their codes are never Unavailable.
func TestImpatientCallersAreNotBlamedOnTheServer(t *testing.T) {
	release := make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	defer close(release)
	p := open(t, nil)
	for range 8 {
		_, err := do(t, p, &apiv1.DoRequest{Url: server.URL + "/slow", Timeout: durationpb.New(time.Millisecond)})
		wantError(t, err, codes.DeadlineExceeded)
	}
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); response.GetStatus() != 200 {
		t.Errorf("status: got %d, want 200", response.GetStatus())
	}
}
