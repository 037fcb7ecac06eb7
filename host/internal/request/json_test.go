package request_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gaia-go/gaia/host/internal/request"
)

// TestJSONOfMoreValuesThanFitIntoMemoryIsRefused has text of 3 MiB that would
// be 300 MiB of messages.
func TestJSONOfMoreValuesThanFitIntoMemoryIsRefused(t *testing.T) {
	t.Parallel()
	md := everything(t)
	parser := request.Parser{Types: protoregistry.GlobalTypes}
	for _, text := range []string{
		`{"tags":[` + strings.Repeat(`"",`, 1<<20) + `""]}`,
		`{"tags":["\\","\"",` + strings.Repeat(`"",`, 1<<20) + `""]}`,
	} {
		_, err := parser.ParseJSON(md, []byte(text))
		if err == nil || !strings.Contains(err.Error(), "at most 262144 may be in one JSON document") {
			t.Errorf("%.40s… of a million: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"text":"` + strings.Repeat(`,`, 1<<20) + `"}`,
		`{"text":"` + strings.Repeat(`\",`, 1<<20) + `"}`,
		`{"text":"` + strings.Repeat(`\\\",[`, 1<<18) + `\\"}`,
	} {
		if _, err := parser.ParseJSON(md, []byte(text)); err != nil {
			t.Errorf("%.40s… in one string: %v", text, err)
		}
	}
}
