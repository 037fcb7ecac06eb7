package registry

import (
	"unicode"
	"unicode/utf8"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// Key is a value of a method's requests by which policies can be kept apart.
// Immutable and safe for concurrent use.
type Key struct {
	Name      string // as config.hcl calls it
	Sensitive bool   // its values are not to be shown

	field field
	as    optionsv1.Transform
}

// Value returns the key's value in a request; empty when the request lacks it
// or is no message. Text and bytes are verbatim, integers in decimal, enum
// values by name or else number, bools "true" and "false"; a number of a field
// without presence that is zero is absent. What is absent, what comes last and
// what a oneof unsets is as a decoder would have it, so that two encodings of
// the same request have the same key.
//
// The result aliases the request or scratch, of which the capacity is used. It
// allocates when scratch is too small or a URL is out of the ordinary.
func (k *Key) Value(request, scratch []byte) []byte {
	text, _ := k.field.text(request, scratch)
	switch k.as {
	case optionsv1.Transform_LOWER:
		return lower(text, scratch)
	case optionsv1.Transform_URL_HOST:
		return urlHost(text, scratch)
	default:
		return text
	}
}

// lower returns text in lower case; bytes that are not UTF-8 stay as they are.
// The text may lie in scratch if it is ASCII, as the names of enum values are.
func lower(text, scratch []byte) []byte {
	if isLowerASCII(text) {
		return text
	}
	low := scratch[:0]
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			low = append(low, text[0])
		} else {
			low = utf8.AppendRune(low, unicode.ToLower(r))
		}
		text = text[n:]
	}
	return low
}

func isLowerASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf || isUpper(c) {
			return false
		}
	}
	return true
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
