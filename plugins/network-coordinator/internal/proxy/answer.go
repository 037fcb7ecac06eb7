package proxy

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
)

// answer is a response of the proxy's own.
type answer struct {
	status int
	text   string // for people, and in X-Gaia-Reason for programs
	extra  string // header lines, each with its CRLF
}

// bytes returns the answer as it is sent. last says that the connection ends
// after it.
func (a answer) bytes(last bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n", len(a.text)+1)
	fmt.Fprintf(&b, "X-Gaia-Reason: %s\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n", printable(a.text))
	b.WriteString(a.extra)
	if last {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n" + a.text + "\n")
	return []byte(b.String())
}

// printable makes text fit for a header: a name that somebody asked for must not
// end the line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// malformed is for what is not understood.
func malformed(err error) answer {
	switch {
	case errors.Is(err, errTooLong):
		return answer{status: http.StatusRequestHeaderFieldsTooLarge,
			text: "the head of the request is too long; a CONNECT may have 8 KiB and other requests 64 KiB"}
	case errors.Is(err, errVersion):
		return answer{status: http.StatusHTTPVersionNotSupported, text: "this is no request of HTTP/1.0 or HTTP/1.1; " +
			"the proxy speaks HTTP/1.1 and SOCKS5 without TLS: write its address as http://HOST:PORT or socks5h://HOST:PORT"}
	}
	return answer{status: http.StatusBadRequest, text: "malformed request: " + err.Error()}
}

// unknown is for those whose name or password is missing or wrong.
func unknown() answer {
	return answer{
		status: http.StatusProxyAuthRequired,
		text: "the proxy wants a name and a password, those of a client block of config.hcl; " +
			"write them into the proxy's address: http://NAME:TOKEN@HOST:PORT",
		extra: "Proxy-Authenticate: Basic realm=\"gaia\", charset=\"UTF-8\"\r\n",
	}
}

func tooMany() answer {
	return answer{
		status: http.StatusServiceUnavailable,
		text:   fmt.Sprintf("as many programs are connected as max_connections allows, and %d more; close connections that wait", MaxWaiting),
		extra:  retryAfter(0),
	}
}

// refusal is for an error of conn.Table.Open.
func refusal(err error) answer {
	a := answer{text: err.Error()}
	switch conn.KindOf(err) {
	case conn.Denied:
		a.status = http.StatusForbidden
	case conn.Paced:
		a.status, a.extra = http.StatusTooManyRequests, retryAfter(conn.RetryAfter(err))
	case conn.Limited:
		a.status, a.extra = http.StatusServiceUnavailable, retryAfter(0)
	case conn.Ending:
		a.status, a.text, a.extra = http.StatusServiceUnavailable, "the proxy is about to end", retryAfter(0)
	case conn.TimedOut:
		a.status = http.StatusGatewayTimeout
	case conn.NotFound, conn.Unresolved, conn.Unreachable, conn.Refused:
		a.status = http.StatusBadGateway
	default:
		a.status = http.StatusInternalServerError
	}
	return a
}

// retryAfter is a header line. Nobody knows when a connection ends: a second is
// a guess.
func retryAfter(d time.Duration) string {
	seconds := max(int(math.Ceil(d.Seconds())), 1)
	return "Retry-After: " + strconv.Itoa(seconds) + "\r\n"
}
