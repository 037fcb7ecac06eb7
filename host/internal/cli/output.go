package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/request"
)

// isTerminal reports whether a person is at the other end of w.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// color reports whether w may be given colours, see https://no-color.org.
func (c *command) color(w io.Writer) bool {
	return isTerminal(w) && c.Getenv("NO_COLOR") == "" && c.Getenv("TERM") != "dumb"
}

// terminalEnv is what programs that draw on a terminal want to know of it.
func (c *command) terminalEnv() []string {
	var env []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "TERM_PROGRAM", "TMUX", "SSH_TTY", "WT_SESSION"} {
		if value := c.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// printMessage writes m in protobuf's JSON mapping: indented for a person, else
// on one line that is the same for the same message.
func (c *command) printMessage(m proto.Message, types request.Resolver) error {
	options := protojson.MarshalOptions{Resolver: types}
	return c.printProtoJSON(m, options, isTerminal(c.Stdout))
}

// printReply writes an answer of the host's own API: zeros are written too,
// so that scripts find every field.
func (c *command) printReply(m proto.Message) error {
	return c.printProtoJSON(m, protojson.MarshalOptions{EmitDefaultValues: true}, isTerminal(c.Stdout))
}

func (c *command) printProtoJSON(m proto.Message, options protojson.MarshalOptions, indent bool) error {
	raw, err := options.Marshal(m)
	if err != nil {
		return fmt.Errorf("print %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return c.writeJSON(raw, indent)
}

// printJSON writes a value of the command's own making.
func (c *command) printJSON(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("internal: print JSON: %w", err)
	}
	return c.writeJSON(raw, isTerminal(c.Stdout))
}

func (c *command) writeJSON(raw []byte, indent bool) error {
	line, err := compact(raw)
	if err == nil && indent {
		var lines bytes.Buffer
		err = json.Indent(&lines, escapeControls(line), "", "  ")
		line = lines.Bytes()
	}
	if err != nil {
		return fmt.Errorf("internal: print JSON: %w", err)
	}
	c.progress.Received(len(line))
	c.progress.Erase()
	_, err = c.Stdout.Write(append(line, '\n'))
	return err
}

// escapeControls keeps control characters from a terminal. Those that JSON
// lets stand are all in strings, and none is above U+FFFF.
func escapeControls(line []byte) []byte {
	if !bytes.ContainsFunc(line, unicode.IsControl) {
		return line
	}
	var b bytes.Buffer
	for _, r := range string(line) {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.Bytes()
}

// compact drops white space: protojson varies it on purpose.
func compact(raw []byte) ([]byte, error) {
	var line bytes.Buffer
	err := json.Compact(&line, raw)
	return line.Bytes(), err
}

// table writes rows in aligned columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				_, _ = io.WriteString(tw, "\t")
			}
			_, _ = io.WriteString(tw, oneLine(cell))
		}
		_, _ = io.WriteString(tw, "\n")
	}
	return tw.Flush()
}

// printable replaces what could steer a terminal: texts come from plugins,
// and from whoever plugins talk to.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// oneLine makes text printable and keeps it in one line and cell.
func oneLine(text string) string {
	return printable(strings.NewReplacer("\n", " ", "\t", " ").Replace(text))
}

// indented puts prefix before each line of text that is not empty.
func indented(text, prefix string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = prefix + line
		}
	}
	return strings.Join(lines, "\n")
}

// orDash stands for what is not there.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// number writes a count or a pid, which are never negative.
func number[N ~int32 | ~uint32 | ~uint64](n N) string {
	return strconv.FormatUint(uint64(n), 10)
}
