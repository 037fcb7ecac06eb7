package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Every file of testdata/invalid says on its faulty lines what is reported
// there, and nothing else is.
func TestEveryFaultIsReportedOnItsLine(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/invalid: %v", err)
	}
	md := everything(t)
	describe := func(_ Host, s *Subsystem) (protoreflect.MessageDescriptor, error) {
		switch s.Plugin {
		case "takes-nothing":
			return nil, nil
		case "missing":
			return nil, errors.New("no such file")
		}
		return md, nil
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			config, report := Load(file, describe)
			if config != nil {
				t.Error("Load returned a config beside errors")
			}
			var got []string
			for _, d := range diagnostics(report) {
				got = append(got, fmt.Sprintf("%d %s: %s", d.Line, strings.ToUpper(d.Severity), d.Summary))
			}
			slices.Sort(got)
			if diff := cmp.Diff(expectations(t, file), got); diff != "" {
				t.Errorf("diagnostics differ (-want +got):\n%s\n%s", diff, plain(t, report))
			}
		})
	}
}

// expectations reads the comments of a fixture, sorted.
func expectations(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`# (ERROR|WARNING): ([\w -]+\w)`)
	var want []string
	for i, line := range strings.Split(string(text), "\n") {
		for _, m := range comment.FindAllStringSubmatch(line, -1) {
			want = append(want, fmt.Sprintf("%d %s: %s", i+1, m[1], m[2]))
		}
	}
	slices.Sort(want)
	return want
}
