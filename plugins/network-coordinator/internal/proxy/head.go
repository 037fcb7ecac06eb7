package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// field is a header field.
type field struct{ name, value string }

// fields of a head, in their order.
type fields []field

// values returns all values of a field, name by name.
func (f fields) values(name string) []string {
	var all []string
	for _, x := range f {
		if strings.EqualFold(x.name, name) {
			all = append(all, x.value)
		}
	}
	return all
}

// has reports whether a list-valued field such as Connection has a token.
func (f fields) has(name, token string) bool {
	for _, x := range f {
		if !strings.EqualFold(x.name, name) {
			continue
		}
		for part := range strings.SplitSeq(x.value, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// request is the head of a request.
type request struct {
	method, target string
	minor          int // of HTTP/1
	fields         fields
}

// response is the head of a response.
type response struct {
	minor  int
	status int
	reason string
	fields fields
}

// maxFields is how many fields a head may have. Browsers send some 20.
const maxFields = 500

// errVersion is a request of HTTP/2 or of no HTTP/1.
var errVersion = errors.New("not HTTP/1.0 or HTTP/1.1")

// parseRequest reads a head as reader.head returns it. It is strict (RFC 9112):
// what two programs could read in two ways is refused.
func parseRequest(head string) (request, error) {
	line, rest, _ := strings.Cut(head, "\r\n")
	method, target, found := strings.Cut(line, " ")
	target, version, found2 := strings.Cut(target, " ")
	if !found || !found2 || !isToken(method) || target == "" || !isVisible(target) {
		return request{}, errors.New("the first line is not METHOD TARGET HTTP/1.1")
	}
	minor, err := parseVersion(version)
	if err != nil {
		return request{}, err
	}
	all, err := parseFields(rest)
	return request{method: method, target: target, minor: minor, fields: all}, err
}

// parseResponse reads a head as reader.head returns it.
func parseResponse(head string) (response, error) {
	line, rest, _ := strings.Cut(head, "\r\n")
	version, line, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(line, " ")
	minor, err := parseVersion(version)
	if err != nil {
		return response{}, err
	}
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || status < 100 {
		return response{}, errors.New("the first line has no status")
	}
	if !isText(reason) {
		return response{}, errors.New("the reason has a character that it cannot have")
	}
	all, err := parseFields(rest)
	return response{minor: minor, status: int(status), reason: reason, fields: all}, err
}

func parseVersion(version string) (minor int, err error) {
	switch version {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	return 0, errVersion
}

// parseFields reads lines up to an empty one.
func parseFields(lines string) (fields, error) {
	all := make(fields, 0, min(strings.Count(lines, "\n"), maxFields))
	for {
		line, rest, found := strings.Cut(lines, "\r\n")
		if line == "" {
			return all, nil
		}
		f, err := parseField(line)
		if err != nil || !found {
			return nil, err
		}
		if len(all) == maxFields {
			return nil, errTooLong
		}
		all, lines = append(all, f), rest
	}
}

func parseField(line string) (field, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return field{}, errors.New("a header field goes on in the next line (obs-fold)")
	}
	name, value, found := strings.Cut(line, ":")
	if !found || !isToken(name) {
		return field{}, fmt.Errorf("a header field with the name %.50q", name)
	}
	value = strings.Trim(value, " \t")
	if !isText(value) {
		return field{}, fmt.Errorf("header field %.50q has a character that it cannot have", name)
	}
	return field{name, value}, nil
}

// isToken is of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isText reports whether s has neither control characters nor line ends.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isVisible reports whether s has printable ASCII only, without spaces.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
