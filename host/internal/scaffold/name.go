package scaffold

import (
	"fmt"
	"go/build"
	"go/token"
	"io"
	"regexp"
	"slices"
	"strings"
)

// maxName leaves room for what is made of a name: a metric, a subsystem, a type.
const maxName = 40

// CheckName returns what is wrong with the name of a plugin; it becomes a folder,
// a program, a Go module, a proto package and a subsystem.
func CheckName(name string) error {
	const rule = "a name is lower-case letters, digits and single dashes between them, and begins with a letter"
	switch {
	case !regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`).MatchString(name):
		if guess := guessName(name); guess != "" {
			return fmt.Errorf("%q is no name for a plugin: %s, such as %q", name, rule, guess)
		}
		return fmt.Errorf("%q is no name for a plugin: %s, such as \"word-counter\"", name, rule)
	case len(name) > maxName:
		return fmt.Errorf("%q has %d characters, a name has at most %d", name, len(name), maxName)
	case token.IsKeyword(name):
		return fmt.Errorf("%q is a keyword of Go; write something like %q", name, "my-"+name)
	case slices.Contains(taken(), name):
		return fmt.Errorf("%q is taken: it means something to Go, protobuf or the host; write something like %q", name, "my-"+name)
	case builtForOneSystem(name):
		return fmt.Errorf("%q ends with a system or processor, and Go would build its files for that alone; write something like %q", name, name+"-plugin")
	}
	return nil
}

// taken are names of packages and subsystems with a meaning of their own, and of what
// is in a plugin's folder beside the program.
func taken() []string {
	return []string{
		"gaia", "plugin", "grpc", "google", "buf", "vendor", "main", "internal", "testdata",
		"host", "bin", "proto", "run", "data",
	}
}

// builtForOneSystem reports whether Go would leave out NAME.pb.go on other systems or
// processors, as it does with files that end with _windows or _arm64.
func builtForOneSystem(name string) bool {
	other := build.Context{GOOS: "other", GOARCH: "other", Compiler: "gc", OpenFile: func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("package v1\n")), nil
	}}
	built, err := other.MatchFile(".", newNames(name, "").Subsystem+".pb.go")
	return err == nil && !built
}

// guessName makes a valid name of one that is not, or "".
func guessName(name string) string {
	name = regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "$1-$2")
	name = regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(strings.TrimLeft(name, "-0123456789"), "-")
}

// names are what templates make of a name.
type names struct {
	Name      string // word-counter: the folder and the program
	Subsystem string // word_counter: in config.hcl, and the beginning of metrics
	Module    string // example.com/word-counter: of Go
	Package   string // word_counter.v1: of proto
	Path      string // word_counter/v1: where its file is
	GoPackage string // wordcounterv1
	Service   string // WordCounterService: never the name of one of the messages

	SDK   string // of the checkout, absolute; "" where the release is required
	Proto string // likewise
}

func newNames(name, checkout string) names {
	snake := strings.ReplaceAll(name, "-", "_")
	var camel strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		camel.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	n := names{
		Name:      name,
		Subsystem: snake,
		Module:    "example.com/" + name,
		Package:   snake + ".v1",
		Path:      snake + "/v1",
		GoPackage: strings.ReplaceAll(name, "-", "") + "v1",
		Service:   camel.String() + "Service",
	}
	if checkout != "" {
		n.SDK, n.Proto = checkout+"/sdk", checkout+"/proto"
	}
	return n
}
