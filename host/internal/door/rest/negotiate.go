package rest

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/host/internal/request"
)

// The types of bodies that are JSON.
const (
	contentJSON  = "application/json"
	contentLines = "application/x-ndjson" // a JSON value a line
	contentBytes = "application/octet-stream"
)

// The parameters of a query that say which bytes field a raw body is, where a
// message has several.
const (
	rawInParameter  = "body"
	rawOutParameter = "field"
)

// fault is why a call cannot be made as it was asked for.
type fault struct {
	status int // of HTTP
	code   codes.Code
	text   string
}

func faultf(status int, format string, args ...any) *fault {
	return &fault{status, codes.InvalidArgument, fmt.Sprintf(format, args...)}
}

// negotiate finds out how request and answer are written.
func negotiate(w http.ResponseWriter, r *http.Request, s *subsystem, m *method) (*input, output, *fault) {
	raw, f := isRawRequest(r)
	if f != nil {
		return nil, nil, f
	}
	accepted, f := acceptedType(r)
	if f != nil {
		return nil, nil, f
	}
	asideIn, asideOut := "", ""
	if raw {
		asideIn = rawInParameter
	}
	if accepted != "" {
		asideOut = rawOutParameter
	}
	q, err := parseQuery(r.URL.RawQuery, asideIn, asideOut)
	if err != nil {
		return nil, nil, faultf(http.StatusBadRequest, "query: %v", err)
	}
	in := newInput(w, r, s, m, q.arguments)
	if raw {
		if in.field, f = chooseBody(m, q.body); f != nil {
			return nil, nil, f
		}
	}
	switch {
	case accepted != "":
		field, f := chooseAnswer(m, q.field)
		return in, &rawAnswer{answer: answer{w, s, m, in}, field: field, accepted: accepted}, f
	case m.ServerStreams:
		return in, &lines{answer: answer{w, s, m, in}}, nil
	default:
		return in, &object{answer: answer{w, s, m, in}}, nil
	}
}

// isRawRequest reports whether the body is the content of a field. Types that
// a web page can send without asking first are neither that nor JSON.
func isRawRequest(r *http.Request) (raw bool, f *fault) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false, faultf(http.StatusUnsupportedMediaType, "Content-Encoding %q is not taken: send the body as it is", coding)
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		if r.ContentLength == 0 {
			return false, nil
		}
		if r.Method == http.MethodPut { // as curl -T has it
			return true, nil
		}
		return false, faultf(http.StatusUnsupportedMediaType, "the body has no Content-Type: send JSON as %s (curl --json), or the content of a bytes field as %s",
			contentJSON, contentBytes)
	}
	kind, parameters, err := mime.ParseMediaType(given)
	switch {
	case err != nil:
		return false, faultf(http.StatusUnsupportedMediaType, "Content-Type %q: %v", given, err)
	case kind == contentJSON, kind == contentLines, strings.HasSuffix(kind, "+json"):
		if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			return false, faultf(http.StatusUnsupportedMediaType, "Content-Type %q: JSON is UTF-8", given)
		}
		return false, nil
	case kind == "application/x-www-form-urlencoded", kind == "text/plain", strings.HasPrefix(kind, "multipart/"):
		return false, faultf(http.StatusUnsupportedMediaType,
			"Content-Type %q is what a form has, and is not taken: send JSON with `curl --json`, or the content of a bytes field with `curl -H 'Content-Type: %s' --data-binary @FILE`", kind, contentBytes)
	}
	return true, nil
}

// acceptedType is the type of the raw body that the caller wants, or "" for
// JSON, which all get who take that or anything.
func acceptedType(r *http.Request) (string, *fault) {
	wanted := ""
	for _, header := range r.Header["Accept"] {
		for part := range strings.SplitSeq(header, ",") {
			kind, parameters, err := mime.ParseMediaType(part)
			switch {
			case err != nil && strings.TrimSpace(part) == "":
			case err != nil:
				return "", faultf(http.StatusNotAcceptable, "Accept: %q: %v", strings.TrimSpace(part), err)
			case parameters["q"] == "0":
			case kind == "*/*", kind == "application/*", kind == contentJSON, kind == contentLines, strings.HasSuffix(kind, "+json"):
				return "", nil
			case wanted == "":
				wanted = kind
			}
		}
	}
	return wanted, nil
}

func chooseBody(m *method, name string) (*request.BytesField, *fault) {
	if field, ok := request.ChooseBytes(m.rawIn, name); ok {
		return field, nil
	}
	message := m.Descriptor.Input().FullName()
	switch {
	case len(m.rawIn) == 0:
		return nil, faultf(http.StatusUnsupportedMediaType, "%s has no bytes field that a raw body could be: send JSON (curl --json)", message)
	case name != "":
		return nil, faultf(http.StatusBadRequest, "?%s=%s: %s has no such bytes field; its are %s", rawInParameter, name, message, request.BytesPaths(m.rawIn))
	}
	return nil, faultf(http.StatusBadRequest, "%s has several bytes fields: say with ?%s= which the body is, of %s", message, rawInParameter, request.BytesPaths(m.rawIn))
}

func chooseAnswer(m *method, name string) (*request.BytesField, *fault) {
	if field, ok := request.ChooseBytes(m.rawOut, name); ok {
		return field, nil
	}
	message := m.Descriptor.Output().FullName()
	switch {
	case len(m.rawOut) == 0:
		return nil, faultf(http.StatusNotAcceptable, "%s has no bytes field that a raw body could be: accept %s", message, contentJSON)
	case name != "":
		return nil, faultf(http.StatusBadRequest, "?%s=%s: %s has no such bytes field; its are %s", rawOutParameter, name, message, request.BytesPaths(m.rawOut))
	}
	return nil, faultf(http.StatusNotAcceptable, "%s has several bytes fields: say with ?%s= which you want, of %s", message, rawOutParameter, request.BytesPaths(m.rawOut))
}
