package pool

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/body"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
)

func headersTooLarge(limit int64) *call.Failure {
	return &call.Failure{
		Code: codes.ResourceExhausted,
		Text: fmt.Sprintf("response headers over %d bytes (max_response_headers)", limit),
	}
}

// read makes response an answer. Its error is explained by the caller.
func (c *client) read(response *http.Response, t *trace) (*apiv1.DoResponse, error) {
	t.call.Exchange().Reach(call.Reading)
	content, err := body.Read(response, c.settings.maxResponseBody)
	if err != nil {
		return nil, err
	}
	answer := c.head(response, t)
	answer.Body = content
	answer.Trailers = lines(response.Trailer)
	return answer, nil
}

// head makes an answer of what is before a response's body.
func (c *client) head(response *http.Response, t *trace) *apiv1.DoResponse {
	answer := &apiv1.DoResponse{
		Status:   uint32(response.StatusCode), //nolint:gosec // G115: 200 to 599
		Headers:  lines(response.Header),
		Protocol: response.Proto,
		Url:      urlText(response.Request.URL),
	}
	outcome := t.call.Outcome()
	answer.Attempts = uint32(outcome.Attempts) //nolint:gosec // G115: some tens at most
	answer.CacheStatus = outcome.Cache
	answer.FromCache = outcome.Cache != apiv1.CacheStatus_CACHE_STATUS_UNSPECIFIED && outcome.Cache != apiv1.CacheStatus_MISS
	answer.Shared = outcome.Shared
	t.write(answer)
	return answer
}

// sound is a RoundTripper that refuses responses for their status or the size
// of their headers, of which limit is in bytes.
type sound struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip returns only responses that are one.
func (s *sound) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.next.RoundTrip(request)
	switch {
	case err != nil && isHeaderLimit(err):
		return nil, headersTooLarge(s.limit)
	case err != nil:
		return nil, err
	}
	if err := readable(response, s.limit); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
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
