package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"

	"github.com/gaia-go/gaia/host/internal/registry"
)

func TestLongFlagsMayHaveOneDash(t *testing.T) {
	t.Parallel()
	tests := []struct{ given, want string }{
		{"status -json", "status --json"},
		{"-config x.hcl run", "--config x.hcl run"},
		{"run -config=x.hcl", "run --config=x.hcl"},
		{"run --config x.hcl", "run --config x.hcl"},
		{"logs s -f -n5 -tail 5", "logs s -f -n5 --tail 5"},
		{"call s.m --json -", "call s.m --json -"},
		{"call s.m -- -config", "call s.m -- -config"},
		{"call s.m -help", "call s.m --help"},
		{"-unknown", "-unknown"},
		{"call s.m text=-json", "call s.m text=-json"},
	}
	root := (&command{}).root()
	for _, tt := range tests {
		got := strings.Join(doubleDashes(root, strings.Fields(tt.given)), " ")
		if got != tt.want {
			t.Errorf("doubleDashes(%q) = %q, want %q", tt.given, got, tt.want)
		}
	}
}

func TestAPersonGetsIndentedJSON(t *testing.T) {
	t.Parallel()
	m := &hostv1.LogsRequest{Subsystem: "s\u009b2J\x1b", Tail: 2}
	for indent, want := range map[bool]string{
		true:  "{\n  \"subsystem\": \"s\\u009b2J\\u001b\",\n  \"tail\": 2\n}\n",
		false: "{\"subsystem\":\"s\u009b2J\\u001b\",\"tail\":2}\n",
	} {
		var stdout bytes.Buffer
		c := &command{Env: Env{Stdout: &stdout}}
		if err := c.printProtoJSON(m, protojson.MarshalOptions{}, indent); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, stdout.String()); diff != "" {
			t.Errorf("indent %v (-want +got):\n%s", indent, diff)
		}
	}
}

func TestOnlyTheLevelOfALogLineIsColoured(t *testing.T) {
	t.Parallel()
	line := logLine(&hostv1.LogsResponse{Level: "warn", Subsystem: "s", Message: "WARN \x1b[31mred"}, true)
	if want := " \x1b[33mWARN \x1b[0m s/0[0] WARN \ufffd[31mred"; !strings.HasSuffix(line, want) {
		t.Errorf("got %q, want it to end with %q", line, want)
	}
}

func TestColoursAreForTerminalsOnly(t *testing.T) {
	t.Parallel()
	c := &command{Env: Env{Getenv: func(string) string { return "" }}}
	if c.color(&bytes.Buffer{}) {
		t.Error("a buffer gets colours")
	}
}

func TestASentenceEndsAtItsFullStop(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                               "",
		"One thing.":                     "One thing.",
		"One thing\nin v1.2. And\nmore.": "One thing in v1.2.",
		"No stop":                        "No stop",
	} {
		if got := registry.Sentence(given); got != want {
			t.Errorf("registry.Sentence(%q) = %q, want %q", given, got, want)
		}
	}
}
