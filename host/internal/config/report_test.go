package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
)

// find reports one fault at the first place of needle in text.
func find(t *testing.T, text, needle string) *Report {
	t.Helper()
	begin := strings.Index(text, needle)
	if begin < 0 {
		t.Fatalf("%q is not in the text", needle)
	}
	return newReport(newSource("config.hcl", []byte(text)), hcl.Diagnostics{fault(rangeOf(text, begin, begin+len(needle)), "Summary", "Detail.")})
}

func rangeOf(text string, begin, end int) hcl.Range {
	pos := func(at int) hcl.Pos {
		line := strings.LastIndexByte(text[:at], '\n') + 1
		return hcl.Pos{Line: strings.Count(text[:at], "\n") + 1, Column: graphemes([]byte(text[line:at])) + 1, Byte: at}
	}
	return hcl.Range{Filename: "config.hcl", Start: pos(begin), End: pos(end)}
}

func TestADiagnosticLooksAsTheStyleGuideSays(t *testing.T) {
	s := subsystemWith(t, `    pace = "50"`)
	_, report := s.DecodeConfig(everything(t))
	want := `Error: Rate without a period

  on config.hcl line 4, in subsystem "s":
  4:     pace = "50"
                ^^^^

A rate is a count per period, such as "50/s" or "1000/min". Did you mean "50/s"?
`
	if diff := cmp.Diff(want, plain(t, report)); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}

func TestCaretsAreBelowWhatTheyMean(t *testing.T) {
	for _, tt := range []struct{ name, text, needle, want string }{
		{"tabs", "\ta\t= bad\n", "bad", "  1:     a    = bad\n                ^^^\n"},
		{"wide characters", "x = \"日本\" bad\n", "bad", "  1: x = \"日本\" bad\n                ^^^\n"},
		{"wide characters meant", "x = 日本\n", "日本", "  1: x = 日本\n         ^^^^\n"},
		{"combining marks", "x = \"e\u0301\" bad\n", "bad", "  1: x = \"e\u0301\" bad\n             ^^^\n"},
		{"emoji of several runes", "x = \"👩‍🚒\" bad\n", "bad", "  1: x = \"👩‍🚒\" bad\n              ^^^\n"},
		{"escape sequences", "x = \"\x1b[31m\" bad\n", "bad", "  1: x = \"\uFFFD[31m\" bad\n                 ^^^\n"},
		{"bytes that are no UTF-8", "x = \"\xff\" bad\n", "bad", "  1: x = \"\uFFFD\" bad\n             ^^^\n"},
		{"several lines", "x = [\n1,\n]\n", "[\n1,\n]", "  1: x = [\n         ^\n"},
		{"lines as on Windows", "a = 1\r\nx = bad\r\n", "bad", "  2: x = bad\n         ^^^\n"},
		{"the end of a line", "x = \n", "\n", "  1: x =\n         ^\n"},
		{"no line break", "x = bad", "bad", "  1: x = bad\n         ^^^\n"},
		{"nothing", "", "", "  1: \n     ^\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := plain(t, find(t, tt.text, tt.needle))
			_, got, _ = strings.Cut(got, ":\n")
			got, _, _ = strings.Cut(got, "\nDetail")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("snippet differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALongLineIsCutAroundItsCarets(t *testing.T) {
	got := plain(t, find(t, "x = \""+strings.Repeat("a", 1000)+"BAD"+strings.Repeat("b", 1000)+"\"", "BAD"))
	lines := strings.Split(got, "\n")
	line, carets := lines[3], lines[4]
	if len([]rune(line)) > widestLine+keptBefore+10 || !strings.HasPrefix(line, "  1: …a") || !strings.HasSuffix(line, "b…") {
		t.Errorf("line %q", line)
	}
	runes := []rune(line)
	at := strings.IndexByte(carets, '^')
	if string(runes[at:at+3]) != "BAD" || strings.TrimSpace(carets) != "^^^" {
		t.Errorf("carets are at %q", string(runes[at:at+3]))
	}
}

func TestColorIsOnlyAddedWhenAskedFor(t *testing.T) {
	report := find(t, "x = bad", "bad")
	var out strings.Builder
	if err := report.WriteText(&out, true); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1;31mError:\x1b[0m \x1b[1mSummary\x1b[0m\n\n  on config.hcl line 1:\n  1: x = bad\n         \x1b[1;31m^^^\x1b[0m\n\nDetail.\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
	if strings.Contains(plain(t, report), "\x1b") {
		t.Error("plain text has escapes")
	}
}

func TestDiagnosticsComeInTheOrderOfTheFileAndOnce(t *testing.T) {
	text := "a = 1\nb = 2\nc = 3\n"
	src := newSource("config.hcl", []byte(text))
	report := newReport(src, hcl.Diagnostics{
		fault(rangeOf(text, 12, 13), "Third", "x"),
		fault(rangeOf(text, 0, 1), "First", "x"),
		fault(rangeOf(text, 12, 13), "Third", "x"),
	})
	report.Add(nil)
	report.Add(newReport(src, hcl.Diagnostics{
		warning(rangeOf(text, 6, 7), "Second", "x"),
		fault(rangeOf(text, 0, 1), "First", "x"),
		fault(rangeOf(text, 0, 1), "First", "another detail"),
	}))
	if diff := cmp.Diff([]string{"First", "First", "Second", "Third"}, summaries(report)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	if got := report.Err().Error(); got != "config.hcl:1: First: x, and 2 more" {
		t.Errorf("Err is %q", got)
	}
}

func TestANilReportIsEmpty(t *testing.T) {
	var report *Report
	if report.HasErrors() || report.Len() != 0 || report.Err() != nil || plain(t, report) != "" {
		t.Error("a nil report is not empty")
	}
	if text, err := json.Marshal(&Report{}); err != nil || string(text) != "[]" {
		t.Errorf("JSON is %s, %v", text, err)
	}
}

func TestJSONTellsWhereEachFaultIs(t *testing.T) {
	s := subsystemWith(t, `    pace = "50"`)
	_, report := s.DecodeConfig(everything(t))
	report.Add(newReport(nil, hcl.Diagnostics{warning(hcl.Range{}, "Elsewhere", "x")}))
	got, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "severity": "warning",
    "summary": "Elsewhere",
    "detail": "x",
    "file": "",
    "line": 0,
    "column": 0,
    "end_line": 0,
    "end_column": 0,
    "subsystem": ""
  },
  {
    "severity": "error",
    "summary": "Rate without a period",
    "detail": "A rate is a count per period, such as \"50/s\" or \"1000/min\". Did you mean \"50/s\"?",
    "file": "config.hcl",
    "line": 4,
    "column": 12,
    "end_line": 4,
    "end_column": 16,
    "subsystem": "s"
  }
]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON differs (-want +got):\n%s", diff)
	}
}

func TestTextThatSteersATerminalIsNotPrinted(t *testing.T) {
	report := newReport(nil, hcl.Diagnostics{fault(hcl.Range{}, "Bad\x1b[2J", "De\ttail\x07\nnext \u202egnirts")})
	want := "Error: Bad\uFFFD[2J\n\nDe tail\uFFFD\nnext \uFFFDgnirts\n"
	if diff := cmp.Diff(want, plain(t, report)); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}
