package link

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// protocolDoc returns docs/protocol.md, by which others write their own ends.
func protocolDoc(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// docRows returns the rows of all tables under a heading, by what is in their
// first cell.
func docRows(t *testing.T, heading string) map[string]string {
	t.Helper()
	rows := make(map[string]string)
	at := ""
	for line := range strings.Lines(protocolDoc(t)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			at = strings.TrimLeft(line, "# ")
		}
		cells := strings.SplitN(line, "|", 3)
		if at == heading && len(cells) == 3 {
			rows[strings.TrimSpace(cells[1])] = cells[2]
		}
	}
	if len(rows) == 0 {
		t.Fatalf("docs/protocol.md has no table under %q", heading)
	}
	return rows
}

var docNumber = regexp.MustCompile(`\d[\d,]*( [KM]iB| s\b)?`)

// numbersIn returns the numbers of a text: sizes as bytes, times as nanoseconds.
func numbersIn(t *testing.T, text string) (all []int) {
	t.Helper()
	units := map[string]int{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": int(time.Second)}
	for _, found := range docNumber.FindAllString(text, -1) {
		digits, unit, _ := strings.Cut(found, " ")
		n, err := strconv.Atoi(strings.ReplaceAll(digits, ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n*units[unit])
	}
	return all
}

func TestTheProtocolsBoundsAreThoseOfTheDocs(t *testing.T) {
	for heading, want := range map[string]map[string][]int{
		"Greeting": {
			"4":     {version},
			"8–11":  {maxFrame},
			"16–19": {maxFrame},
		},
		"Frames": {
			"0–3": {headerSize},
		},
		"Bounds": {
			"greeting":             {int(greetTimeout)},
			"frame":                {maxFrame},
			"message of a request": {MaxPayload},
			"message of an answer": {MaxAnswer, MaxPayload},
			"metadata of a request, header and trailer of an answer":             {MaxMetadata},
			"methods on a connection":                                            {maxMethods},
			"name of a method":                                                   {maxMethodName},
			"calls in flight on a connection":                                    {maxCalls},
			"call frames in flight on a connection":                              {window},
			"of an answer without credit":                                        {answerWindow},
			"waiting to be written, for a client that does not read its answers": {softQueue},
			"waiting to be written, for any peer":                                {hardQueue},
		},
	} {
		rows := docRows(t, heading)
		for row, want := range want {
			if got := numbersIn(t, rows[row]); !slices.Equal(got, want) {
				t.Errorf("%s, %q: the docs say %v, the code %v", heading, row, got, want)
			}
		}
	}
}

func TestTheProtocolsLayoutIsThatOfTheDocs(t *testing.T) {
	for heading, size := range map[string]int{
		"Frames":            headerSize,
		"Body of a call":    callSize,
		"Body of an answer": answerSize,
	} {
		first := fmt.Sprintf("%d–", size)
		if rows := docRows(t, heading); rows[first] == "" {
			t.Errorf("%s: the code has %d bytes before what varies, the docs have no row %q: %q", heading, size, first, rows)
		}
	}
	rows := docRows(t, "Frames")
	for kind, name := range map[kind]string{
		kindCall: "call", kindAnswer: "answer", kindPart: "part", kindCancel: "cancel",
		kindMethod: "method", kindCredit: "credit", kindGoodbye: "goodbye",
	} {
		if row := fmt.Sprintf("%d %s", kind, name); rows[row] == "" {
			t.Errorf("the docs have no kind %q: %q", row, rows)
		}
	}
	if got := numbersIn(t, rows[fmt.Sprintf("%d credit", kindCredit)]); !slices.Equal(got, []int{creditSize}) {
		t.Errorf("body of a credit: the docs say %v bytes, the code %d", got, creditSize)
	}
	for what, given := range map[string]uint8{"parts of the answer follow": flagMore, "was refused before it began": flagRefused} {
		words := regexp.MustCompile(`Flag (\d) [^.]*` + strings.ReplaceAll(what, " ", `\s`))
		if found := words.FindStringSubmatch(protocolDoc(t)); found == nil || found[1] != strconv.Itoa(int(given)) {
			t.Errorf("the docs do not say that flag %d means that %s", given, what)
		}
	}
}

func TestTheProtocolsExampleIsWhatIsSent(t *testing.T) {
	const name = "/hello.v1.Greeter/Hello"
	client := ourGreeting().append(nil)
	client = append(appendHeader(client, kindMethod, 0, 0, 0, len(name)), name...)
	client = appendCall(client, 0, 0, &Request{
		Timeout:  time.Second,
		Metadata: AppendPair(nil, "gaia-subsystem", "hello"),
		Payload:  append([]byte{0x0a, 3}, "Ada"...),
	})
	server := ourGreeting().append(nil)
	server = appendAnswer(server, 0, &Answer{Payload: append([]byte{0x0a, 11}, "Hello, Ada!"...)})
	got := docExample(t)
	for who, want := range map[string][]byte{"client": client, "server": server} {
		if diff := cmp.Diff(hex.Dump(got[who]), hex.Dump(want)); diff != "" {
			t.Errorf("what the %s sends (-docs +code):\n%s", who, diff)
		}
	}
}

// docExample returns what each end sends in the example, whose lines are an end,
// bytes and texts, and a remark.
func docExample(t *testing.T) map[string][]byte {
	t.Helper()
	_, rest, _ := strings.Cut(protocolDoc(t), "\n## Example\n")
	_, rest, _ = strings.Cut(rest, "```\n")
	block, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("docs/protocol.md has no example")
	}
	sent := make(map[string][]byte)
	who := ""
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "#")
		for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
			if text, ok := strings.CutPrefix(line, `"`); ok {
				text, rest, _ := strings.Cut(text, `"`)
				sent[who], line = append(sent[who], text...), rest
				continue
			}
			var word string
			word, line, _ = strings.Cut(line, " ")
			if b, err := hex.DecodeString(word); err == nil {
				sent[who] = append(sent[who], b...)
			} else {
				who = word
			}
		}
	}
	return sent
}
