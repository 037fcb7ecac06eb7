package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/body"
)

// entry is a stored response. Nobody writes to it or to what it refers to.
// The exported fields are those that a disk keeps.
type entry struct {
	Key       string
	Variant   string   // the values of Vary's headers in the request, see variantOf
	Vary      []string // names, canonical and sorted
	Status    int
	Proto     string
	Header    http.Header
	Trailer   http.Header
	Body      []byte
	Requested time.Time
	Received  time.Time

	terms terms
}

// overhead is what an entry costs beside its bytes: structs, map cells, slices.
const overhead = 1 << 10

// newEntry makes an entry of a response whose body follows. It has its own
// copy of the headers.
func newEntry(key string, request *http.Request, response *http.Response, requested, received time.Time) *entry {
	headers := response.Header.Clone()
	for _, name := range append(names(headers["Connection"]), connectionHeaders()...) {
		delete(headers, name)
	}
	if headers.Get("Date") == "" {
		headers.Set("Date", received.UTC().Format(http.TimeFormat))
	}
	vary := names(headers["Vary"])
	if len(headers["Content-Encoding"]) > 0 {
		vary = append(vary, "Accept-Encoding") // for those who can unpack it, whether the server says so or not
	}
	slices.Sort(vary)
	e := &entry{
		Key: key, Vary: slices.Compact(vary), Status: response.StatusCode, Proto: response.Proto,
		Header: headers, Requested: requested, Received: received,
	}
	e.Variant = variantOf(e.Vary, request)
	e.terms = termsOf(e.Status, e.Header, requested, received)
	return e
}

// connectionHeaders are not part of what is stored (RFC 9111, 3.1).
func connectionHeaders() []string {
	return []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade"}
}

// variantOf is the values of a request's headers, in one text. Spaces around a
// value and between the members of a list tell nothing apart.
func variantOf(vary []string, request *http.Request) string {
	if len(vary) == 0 {
		return ""
	}
	var text strings.Builder
	for _, name := range vary {
		text.WriteString(name)
		for i, line := range request.Header[name] {
			text.WriteByte(":,"[min(i, 1)])
			for j, member := range strings.Split(line, ",") {
				if j > 0 {
					text.WriteByte(',')
				}
				text.WriteString(strings.TrimSpace(member))
			}
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// matches reports whether e is an answer to request as far as Vary goes.
func (e *entry) matches(request *http.Request) bool {
	return len(e.Vary) == 0 || e.Variant == variantOf(e.Vary, request)
}

func (e *entry) size() int64 {
	size := overhead + 2*len(e.Key) + 2*len(e.Variant) + len(e.Body)
	for _, headers := range []http.Header{e.Header, e.Trailer} {
		for name, values := range headers {
			for _, value := range values {
				size += len(name) + len(value) + 64
			}
		}
	}
	return int64(size)
}

// age is how old the response is by now.
func (e *entry) age(now time.Time) time.Duration {
	return e.terms.initialAge + max(0, now.Sub(e.Received))
}

// response makes e the answer to request. Its headers are the caller's own.
func (e *entry) response(request *http.Request, now time.Time, validated bool) *http.Response {
	headers := e.Header.Clone()
	if !validated {
		headers["Age"] = []string{strconv.FormatInt(int64(min(e.age(now), longest)/time.Second), 10)}
		for _, name := range e.terms.hidden {
			delete(headers, name)
		}
	}
	major, minor, _ := http.ParseHTTPVersion(e.Proto)
	response := &http.Response{
		Status: strconv.Itoa(e.Status) + " " + http.StatusText(e.Status), StatusCode: e.Status,
		Proto: e.Proto, ProtoMajor: major, ProtoMinor: minor,
		Header: headers, Trailer: e.Trailer.Clone(), Request: request,
		Body: http.NoBody, ContentLength: int64(len(e.Body)),
	}
	if request.Method != http.MethodHead && len(e.Body) > 0 {
		response.Body = body.Of(e.Body, false)
	}
	return response
}

// refreshed is e with the headers of a 304 (RFC 9111, 3.2). Those that describe
// the body as it was stored stay.
func (e *entry) refreshed(request *http.Request, confirmed *http.Response, requested, received time.Time) *entry {
	fresh := newEntry(e.Key, request, confirmed, requested, received)
	headers := e.Header.Clone()
	delete(headers, "Age")
	for name, values := range fresh.Header {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range":
		default:
			headers[name] = values
		}
	}
	whole := *confirmed
	whole.Header, whole.StatusCode, whole.Proto = headers, e.Status, e.Proto
	fresh = newEntry(e.Key, request, &whole, requested, received)
	fresh.Body, fresh.Trailer = e.Body, e.Trailer
	return fresh
}
