package cache

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
)

// keyOf names what request asks for: whose it is, and its URL. Requests with
// credentials of their own have a cache of their own, which is what a private
// cache is.
func (c *Cache) keyOf(request *http.Request, profile string) string {
	var text strings.Builder
	text.WriteString(profile)
	text.WriteString(c.partitions[profile])
	text.WriteByte('\n')
	for _, name := range [...]string{"Authorization", "Cookie"} {
		if values := request.Header[name]; len(values) > 0 {
			sum := sha256.Sum256([]byte(name + ":" + strings.Join(values, "\n")))
			text.Write(sum[:])
		}
	}
	text.WriteByte('\n')
	if request.Host != "" && request.Host != request.URL.Host {
		text.WriteString(strings.ToLower(request.Host))
	}
	text.WriteByte('\n')
	writeURL(&text, request.URL)
	return text.String()
}

// writeURL writes u in one spelling (RFC 3986, 6.2): lower case scheme and host,
// no default port, no fragment, "/" for no path, %XX only where it is needed.
func writeURL(text *strings.Builder, u *url.URL) {
	text.WriteString(strings.ToLower(u.Scheme))
	text.WriteString("://")
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	text.WriteString(host)
	if u.Path == "" {
		text.WriteByte('/')
	}
	writeEscaped(text, u.EscapedPath())
	if u.RawQuery != "" || u.ForceQuery {
		text.WriteByte('?')
		writeEscaped(text, u.RawQuery)
	}
}

// writeEscaped writes unreserved characters as they are and other %XX in upper
// case.
func writeEscaped(text *strings.Builder, escaped string) {
	for {
		at := strings.IndexByte(escaped, '%')
		if at < 0 || len(escaped) < at+3 {
			text.WriteString(escaped)
			return
		}
		text.WriteString(escaped[:at])
		piece := strings.ToUpper(escaped[at : at+3])
		if b, err := url.PathUnescape(piece); err == nil && isUnreserved(b[0]) {
			piece = b
		}
		text.WriteString(piece)
		escaped = escaped[at+3:]
	}
}

func isUnreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-._~", b) >= 0
}
