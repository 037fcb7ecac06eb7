package pool

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// firstBuffer is what is allocated for a body on the word of a Content-Length;
// beyond it the buffer grows with what has arrived. Most API answers fit.
const firstBuffer = 64 << 10

// unknownBuffer is the first buffer for a body of unknown length.
const unknownBuffer = 4 << 10

// tooLarge tells that a response is over a limit.
type tooLarge struct{ text string }

func (e *tooLarge) Error() string { return e.text }

func headersTooLarge(limit int64) *tooLarge {
	return &tooLarge{fmt.Sprintf("response headers over %d bytes (max_response_headers)", limit)}
}

// read makes response an answer. Its error is explained by the caller.
func (c *client) read(response *http.Response, t *trace) (*apiv1.DoResponse, error) {
	if err := readable(response, c.settings.maxResponseHeaders); err != nil {
		return nil, err
	}
	t.reach(reading)
	body, err := readBody(response, c.settings.maxResponseBody)
	if err != nil {
		return nil, err
	}
	answer := &apiv1.DoResponse{
		Status:   uint32(response.StatusCode), //nolint:gosec // G115: 200 to 599
		Headers:  lines(response.Header),
		Body:     body,
		Protocol: response.Proto,
		Url:      urlText(response.Request.URL),
	}
	t.write(answer)
	return answer, nil
}

// readable refuses a response for its status or the size of its headers.
func readable(response *http.Response, limit int64) error {
	if code := response.StatusCode; code < 200 || code > 599 {
		return fmt.Errorf("the server answered with status %d, which ends no HTTP exchange (200 to 599 do)", code)
	}
	var size int64
	for name, values := range response.Header {
		for _, value := range values {
			size += int64(len(name) + len(": ") + len(value) + len("\r\n"))
		}
	}
	if size > limit {
		return headersTooLarge(limit)
	}
	return nil
}

// readBody reads the whole body, at most limit and one byte. It allocates at
// most twice what has arrived, whatever Content-Length says.
func readBody(response *http.Response, limit int64) ([]byte, error) {
	if response.ContentLength == 0 || response.Request.Method == http.MethodHead {
		return nil, nil
	}
	size := response.ContentLength // -1 if unknown
	if size > limit {
		return nil, &tooLarge{fmt.Sprintf("response body of %d bytes, limit %d (max_response_body)", size, limit)}
	}
	ceiling, first := limit, int64(unknownBuffer)
	if size >= 0 {
		ceiling, first = size, firstBuffer
	}
	ceiling++ // the reader needs room to say that this was all, or that it was not
	buffer := make([]byte, 0, min(first, ceiling))
	for {
		n, err := response.Body.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case int64(len(buffer)) > limit:
			return nil, &tooLarge{fmt.Sprintf("response body over %d bytes (max_response_body)", limit)}
		case err == io.EOF: // bare: a wrapped one is not the end of a body
			return buffer, nil
		case err != nil:
			return nil, broken(err, len(buffer), size)
		case len(buffer) == cap(buffer):
			grown := make([]byte, len(buffer), min(2*int64(cap(buffer)), ceiling))
			copy(grown, buffer)
			buffer = grown
		}
	}
}

// broken says how much of a body there was when it broke off.
func broken(err error, got int, size int64) error {
	if size < 0 {
		return fmt.Errorf("after %d bytes: %w", got, err)
	}
	return fmt.Errorf("after %d of %d bytes: %w", got, size, err)
}

// lines lists headers by name, the values of a name in the order of arrival.
func lines(headers http.Header) []*apiv1.Header {
	count := 0
	names := make([]string, 0, len(headers))
	for name, values := range headers {
		names = append(names, name)
		count += len(values)
	}
	slices.Sort(names)
	block := make([]apiv1.Header, count) // one allocation for all
	list := make([]*apiv1.Header, 0, count)
	for _, name := range names {
		for _, value := range headers[name] {
			line := &block[len(list)]
			line.Name, line.Value = name, asText(value)
			list = append(list, line)
		}
	}
	return list
}

// asText makes a proto string of a header's value: bytes that are not UTF-8 are
// read as ISO 8859-1, which HTTP once allowed (RFC 9110, 5.5). In a name,
// net/http refuses them.
func asText(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	runes := make([]rune, len(value))
	for i := range len(value) {
		runes[i] = rune(value[i])
	}
	return string(runes)
}

// urlText is u in UTF-8; other bytes, which a redirect may bring along in a
// query, are written %XX.
func urlText(u *url.URL) string {
	text := u.String()
	if utf8.ValidString(text) {
		return text
	}
	var escaped strings.Builder
	for i := range len(text) {
		if b := text[i]; b < utf8.RuneSelf {
			escaped.WriteByte(b)
		} else {
			fmt.Fprintf(&escaped, "%%%02X", b)
		}
	}
	return escaped.String()
}
