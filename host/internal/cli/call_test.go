package cli_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gaia-go/gaia/host/internal/cli"
)

func TestACallPrintsTheAnswerOnOneLine(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, []byte(`{"count": 7, "text": "x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		args  []string
		input string
		want  string
	}{
		{"by fields", []string{"rich.Rich.Echo", "text=a b", "point.x=1", "wait=1500ms", "tags=a", "tags=b"}, "",
			`{"text":"a b","tags":["a","b"],"point":{"x":1},"wait":"1.500s"}`},
		{"by the method's full name", []string{"rich.rich.v1.Rich/Echo", "flag=true"}, "", `{"flag":true}`},
		{"from standard input", []string{"rich.Rich.Echo", "-json", "-"}, "{\n\"count\": 1}\n", `{"count":1}`},
		{"from a file of JSON", []string{"rich.Rich.Echo", "--json", file}, "", `{"text":"x","count":7}`},
		{"a field from standard input", []string{"rich.Rich.Echo", "blob=@-"}, "hi", `{"blob":"aGk="}`},
		{"with a message that only the plugin knows", []string{"rich.Rich.Echo", `any={"@type":"type.googleapis.com/rich.v1.Point","x":3}`}, "",
			`{"any":{"@type":"type.googleapis.com/rich.v1.Point","x":3}}`},
		{"of an empty answer", []string{"rich.Rich.Echo"}, "", `{}`},
		{"client stream of one message", []string{"rich.Sum", "count=4"}, "", `{"count":4}`},
		{"client stream", []string{"rich.Sum", "--json", "-"}, `{"count":1} {"count":2}` + "\n" + `{"count":3}`, `{"count":6}`},
		{"empty client stream", []string{"rich.Sum", "--json", "-"}, ``, `{}`},
		{"bidi stream", []string{"rich.Chat", "--json", "-"}, `{"count":1}{"count":2}`, "{\"count\":1}\n{\"count\":2}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := f.run(t, tt.input, append([]string{"call"}, tt.args...)...)
			if diff := cmp.Diff(result{0, tt.want + "\n", ""}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("gaia call %q (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

func TestACallNamesItsSubsystem(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	if got := f.run(t, "", "call", "rich.Rich.Echo"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := (<-f.headers).Get("gaia-subsystem"); len(got) != 1 || got[0] != "rich" {
		t.Errorf("metadata gaia-subsystem is %q, want rich", got)
	}
}

func TestAStreamIsPrintedAsItArrives(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	stdout, write := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(t.Context(), []string{"call", "rich.Count", "count=3"}, cli.Env{
			Stdin: strings.NewReader(""), Stdout: write, Stderr: io.Discard,
			Getenv: func(string) string { return f.socket }, // GAIA_SOCKET is all that is asked for
		})
		_ = write.Close()
	}()
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{`{}`, `{"count":1}`, `{"count":2}`} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line %q, want %q", lines.Text(), want)
		}
		f.proceed <- struct{}{} // the next one is not sent before
	}
	if lines.Scan() {
		t.Errorf("one more line: %q", lines.Text())
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAChatTakesTurns(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	stdin, in := io.Pipe()
	stdout, out := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(t.Context(), []string{"call", "rich.Chat", "--json", "-"}, cli.Env{
			Stdin: stdin, Stdout: out, Stderr: io.Discard, Getenv: func(string) string { return f.socket },
		})
		_ = out.Close()
	}()
	lines := bufio.NewScanner(stdout)
	for _, turn := range []string{`{"text":"a"}`, `{"text":"b"}`, `{"text":"end"}`} {
		if _, err := io.WriteString(in, turn+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || lines.Text() != turn {
			t.Fatalf("answer %q, want %q", lines.Text(), turn)
		}
	}
	// The far side has ended the call, with standard input still open.
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func TestAWrongCallSaysWhatIsRight(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	tests := []struct {
		name   string
		args   []string
		input  string
		code   int
		stderr string
	}{
		{"unknown subsystem", []string{"rihc.Echo"}, "", 1,
			"gaia: error: no subsystem or plugin \"rihc\"; did you mean \"rich\"? (NotFound)\n"},
		{"unknown method", []string{"rich.Cuont"}, "", 1,
			"gaia: error: rich has no method \"Cuont\"\n" +
				"gaia: hint: did you mean rich.Count?\n" +
				"gaia: hint: gaia call rich lists its methods\n"},
		{"method of two services", []string{"rich.Echo"}, "", 1,
			"gaia: error: 2 services of rich have a method Echo\n" +
				"gaia: hint: gaia call rich.Other.Echo\n" +
				"gaia: hint: gaia call rich.Rich.Echo\n"},
		{"request without a method", []string{"rich", "text=x"}, "", 2,
			"gaia: error: \"rich\" names a subsystem and none of its methods\n" +
				"gaia: hint: gaia call rich lists them\n"},
		{"unknown field", []string{"rich.Count", "point.xx=1"}, "", 2,
			"gaia: error: point: rich.v1.Point has no field \"xx\"\n" +
				"gaia: hint: did you mean \"x\"? its fields are x, y\n"},
		{"wrong value", []string{"rich.Count", "count=many"}, "", 2,
			"gaia: error: count: \"many\" is not a whole number from -2147483648 to 2147483647\n"},
		{"unknown field of JSON", []string{"rich.Count", "--json", "-"}, `{"txet":"x"}`, 2,
			"gaia: error: (line 1:2): unknown field \"txet\"\n" +
				"gaia: hint: did you mean \"text\"?\n"},
		{"broken stream of JSON", []string{"rich.Chat", "--json", "-"}, `{"count":1}{"count":}`, 2,
			"gaia: error: message 2 of the request: invalid character '}' looking for beginning of value\n"},
		{"stream of JSON that breaks off", []string{"rich.Chat", "--json", "-"}, `{"count":1}{"count":`, 2,
			"gaia: error: message 2 of the request: unexpected EOF\n"},
		{"wrong message in a stream", []string{"rich.Chat", "--json", "-"}, `{"count":1}{"count":"many"}`, 2,
			"gaia: error: message 2 of the request: (line 1:10): invalid value for int32 field count: not what is allowed here\n"},
		{"no such file of JSON", []string{"rich.Count", "--json", "nowhere"}, "", 1,
			"gaia: error: --json: open nowhere: no such file or directory\n"},
		{"two requests", []string{"rich.Count", "count=1", "--json", "-"}, "", 2,
			"gaia: error: the request is given twice: by --json and by \"count=1\"\n" +
				"gaia: hint: gaia call --help shows what it takes\n"},
		{"error with details", []string{"rich.Refuse"}, "", 1,
			"gaia: error: rich: queue full: 2 waiting, limit 2 (ResourceExhausted)\n" +
				"  text: is not polite\n" +
				"  reason: QUEUE\n" +
				"  limit: 2\n" +
				"  policy: queue\n" +
				"  detail: {\"@type\":\"type.googleapis.com/rich.v1.Point\",\"x\":7}\n" +
				"  detail of type no.Such\n" +
				"gaia: hint: retry in 2s\n"},
		{"no answer in time", []string{"rich.Hang", "--timeout", "20ms"}, "", 1,
			"gaia: error: no answer within 20ms (DeadlineExceeded)\n" +
				"gaia: hint: --timeout 1m would wait longer\n"},
		{"no time even to ask what the method is", []string{"rich.Hang", "--timeout", "1ns"}, "", 1,
			"gaia: error: no answer within 1ns (DeadlineExceeded)\n" +
				"gaia: hint: --timeout 1m would wait longer\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := f.run(t, tt.input, append([]string{"call"}, tt.args...)...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			if diff := cmp.Diff(tt.stderr, got.stderr); diff != "" {
				t.Errorf("gaia call %q (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

func TestAnInterruptedCallIsCancelledAtTheFarSide(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"call", "rich.Hang"}, {"logs", "rich", "-f"}} {
		f := startHost(t)
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan result, 1)
		go func() {
			done <- runCommand(ctx, map[string]string{"GAIA_SOCKET": f.socket}, strings.NewReader(""), args...)
		}()
		<-f.started
		interrupt()
		if got := <-done; got.code != 130 || got.stderr != "" {
			t.Errorf("gaia %q: %+v, want exit code 130 and no complaint", args, got)
		}
		<-f.cancelled
	}
}

func TestAnInterruptEndsTheWaitForStandardInput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"call", "rich.Chat", "--json", "-"},
		{"call", "rich.Rich.Echo", "--json", "-"},
		{"call", "rich.Rich.Echo", "text=@-"},
		{"fmt", "-"},
	} {
		f := startHost(t)
		stdin, in := io.Pipe()
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan result, 1)
		go func() { done <- runCommand(ctx, map[string]string{"GAIA_SOCKET": f.socket}, stdin, args...) }()
		if _, err := io.WriteString(in, "{"); err != nil { // returns when it was read
			t.Fatal(err)
		}
		interrupt()
		if got := <-done; got.code != 130 || got.stderr != "" {
			t.Errorf("gaia %q: %+v, want exit code 130 and no complaint", args, got)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestACallWithoutAMethodListsTheMethods(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "call", "rich")
	if diff := cmp.Diff(`METHOD           KIND           WHAT IT DOES
rich.Other.Echo  unary          Echo returns its request too.
rich.Chat        bidi stream    Chat answers each request with itself.
rich.Count       server stream  Count sends its request back `+"`count`"+` times.
rich.Rich.Echo   unary          Echo returns its request.
rich.Hang        unary          Hang answers when the call is cancelled.
rich.Refuse      unary          Refuse answers with an error that has details.
rich.Sum         client stream  Sum adds up the field `+"`count`"+` of all requests.
`, got.stdout); diff != "" || got.code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", got.code, diff)
	}
}

func TestARequestIsDescribedFieldByField(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "call", "rich.Count", "--describe")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{
		"rich.v1.Rich.Count(Everything) returns (stream Everything)\n    Count sends its request back `count` times.\n\nfields of rich.v1.Everything:\n",
		"\n  text=TEXT\n      text, as it is. Required.\n",
		"\n  blob=TEXT|@FILE\n",
		"\n  size=1MiB\n",
		"\n  level=QUIET|LOUD\n",
		"\n  tags=TEXT tags=TEXT...\n",
		"\n  headers.KEY=TEXT\n",
		"\n  points.KEY='{JSON}'\n",
		"\n  point='{JSON}'\n\n  point.x=NUMBER\n      x to the right.\n",
		"\n  path='{JSON}' path='{JSON}'...\n",
		"\n  wait=5s\n      wait before the answer.\n",
		"\n  at=2006-01-02T15:04:05Z\n",
		"\n  maybe=NUMBER\n",
		"\n  api_key=TEXT  (sensitive)\n      key to the door.\n",
		"\n  child='{JSON}'\n      child of the same kind.\n\n  redirects=NUMBER\n",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is missing in:\n%s", want, got.stdout)
		}
	}
}

func TestTheContentOfAnAnswerIsSaved(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	tests := []struct {
		name          string
		args          []string
		input         string
		want, content string
	}{
		{"and the rest is printed", []string{"rich.Rich.Echo", "blob=\x01\x02", "text=a"}, "", "{\"text\":\"a\"}\n", "\x01\x02"},
		{"and nothing is left to print", []string{"rich.Rich.Echo", "blob=x"}, "", "", "x"},
		{"where there is none", []string{"rich.Rich.Echo"}, "", "", ""},
		{"of a stream, one after the other", []string{"rich.Chat", "--json", "-"}, `{"blob":"aGk="}{"count":1,"blob":"IQ=="}`, "{\"count\":1}\n", "hi!"},
		{"of the field that is named", []string{"rich.Rich.Echo", "blob=x", "--field", "blob"}, "", "", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "out")
			got := f.run(t, tt.input, append([]string{"call", "-o", file}, tt.args...)...)
			if diff := cmp.Diff(result{0, tt.want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("gaia call -o %q (-want +got):\n%s", tt.args, diff)
			}
			if content, err := os.ReadFile(file); err != nil || string(content) != tt.content {
				t.Errorf("saved: %q, %v, want %q", content, err, tt.content)
			}
		})
	}
}

func TestContentOnStandardOutputIsAlone(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "call", "rich.Rich.Echo", "blob=x", "text=a", "--output", "-")
	if diff := cmp.Diff(result{0, "x", ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACallThatFailsSavesNothing(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "out"), []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"rich.Refuse", "-o", filepath.Join(dir, "out")},
		{"rich.Rich.Echo", "-o", filepath.Join(dir, "out"), "--field", "tekst"},
		{"rich.Rich.Echo", "-o", filepath.Join(dir, "no/out")},
		{"rich.Rich.Echo", "--field", "blob"},
	} {
		if got := f.run(t, "", append([]string{"call"}, args...)...); got.code == 0 {
			t.Errorf("gaia call %q: %+v, want an error", args, got)
		} else {
			t.Log(got.stderr)
		}
	}
	if content, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(content) != "before" {
		t.Errorf("the file of before: %q, %v", content, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
