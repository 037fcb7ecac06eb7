package config

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/hashicorp/hcl/v2"
	"golang.org/x/text/width"
)

// How a line of the file is shown.
const (
	tabWidth    = 4
	widestLine  = 160 // columns; a longer line is cut on both sides
	keptBefore  = 60  // columns that stay before the caret of a line that is cut
	redacted    = "[redacted]"
	replacement = "\uFFFD"
)

// WriteText prints the diagnostics for people: what is wrong, the line it is
// on with carets below, and what to write instead. With color it adds ANSI
// escapes. Secrets and control characters of the file are never printed.
func (r *Report) WriteText(w io.Writer, color bool) error {
	if r == nil {
		return nil
	}
	var out strings.Builder
	for i, e := range r.entries {
		if i > 0 {
			out.WriteByte('\n')
		}
		r.writeEntry(&out, e, palette(color))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// palette reports whether text is coloured.
type palette bool

func (p palette) paint(style, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (r *Report) writeEntry(out *strings.Builder, e entry, p palette) {
	label, style := "Error", "1;31"
	if e.Severity == hcl.DiagWarning {
		label, style = "Warning", "1;33"
	}
	fmt.Fprintf(out, "%s %s\n", p.paint(style, label+":"), p.paint("1", printable(e.Summary)))
	if e.Subject != nil {
		r.writeLine(out, e, p, style)
	}
	if e.Detail != "" {
		fmt.Fprintf(out, "\n%s\n", printable(e.Detail))
	}
}

// writeLine prints where e is: file, line and block, then the line itself
// when there is one.
func (r *Report) writeLine(out *strings.Builder, e entry, p palette, style string) {
	at := *e.Subject
	where := fmt.Sprintf("on %s line %d", at.Filename, at.Start.Line)
	if e.source == nil {
		fmt.Fprintf(out, "\n  %s\n", printable(where))
		return
	}
	if block, _ := e.source.block(at); block != "" {
		where += ", in " + block
	}
	fmt.Fprintf(out, "\n  %s:\n", printable(where))
	text, carets := r.snippet(e.source.text, at)
	number := strconv.Itoa(at.Start.Line)
	fmt.Fprintf(out, "  %s: %s\n", number, strings.TrimRight(text, " "))
	fmt.Fprintf(out, "  %s  %s\n", strings.Repeat(" ", len(number)), carets[:strings.IndexByte(carets, '^')]+p.paint(style, strings.TrimSpace(carets)))
}

// cell is one character as a terminal shows it.
type cell struct {
	text   string
	width  int
	marked bool // the caret line points at it
}

// snippet returns the first line of at as a terminal shows it, and below it
// the line of carets, which has at least one.
func (r *Report) snippet(text []byte, at hcl.Range) (line, carets string) {
	cells, first := r.cells(text, at)
	total := 0
	for _, c := range cells {
		total += c.width
	}
	if total > widestLine {
		cells, first = window(cells, first)
	}
	var shown, below strings.Builder
	for i, c := range cells {
		shown.WriteString(c.text)
		mark := " "
		if c.marked || i == first {
			mark = "^"
		}
		below.WriteString(strings.Repeat(mark, c.width))
	}
	if first == len(cells) {
		below.WriteByte('^') // at the end of the line
	}
	return shown.String(), strings.TrimRight(below.String(), " ")
}

// cells parts the line on which at starts into characters; first is the index
// of the first one that at covers.
func (r *Report) cells(text []byte, at hcl.Range) (cells []cell, first int) {
	begin := min(max(at.Start.Byte, 0), len(text))
	start := bytes.LastIndexByte(text[:begin], '\n') + 1
	end := len(text)
	if n := bytes.IndexByte(text[start:], '\n'); n >= 0 {
		end = start + n
	}
	if end > start && text[end-1] == '\r' {
		end-- // the line ends as on Windows
	}
	first = -1
	var secret *hcl.Range // the one that the last cell stands for
	for pos := start; pos < end; {
		size, _, err := textseg.ScanGraphemeClusters(text[pos:end], true)
		if err != nil || size == 0 {
			size = 1
		}
		c := display(text[pos : pos+size])
		c.marked = pos+size > at.Start.Byte && pos < at.End.Byte
		if c.marked && first < 0 {
			first = len(cells)
		}
		hidden := r.hiddenAt(at.Filename, pos)
		switch {
		case hidden == nil:
			cells = append(cells, c)
		case hidden != secret:
			cells = append(cells, cell{redacted, len(redacted), c.marked})
		case c.marked:
			cells[len(cells)-1].marked = true
			first = min(first, len(cells)-1)
		}
		secret = hidden
		pos += size
	}
	if first < 0 {
		first = len(cells)
	}
	return cells, first
}

// hiddenAt returns the secret at a byte of a file; nil when there is none.
func (r *Report) hiddenAt(file string, pos int) *hcl.Range {
	for i := range r.hidden {
		if h := &r.hidden[i]; h.Filename == file && h.ContainsOffset(pos) {
			return h
		}
	}
	return nil
}

// display returns how a terminal shows one grapheme cluster.
func display(cluster []byte) cell {
	r, _ := utf8.DecodeRune(cluster)
	switch {
	case r == '\t':
		return cell{text: strings.Repeat(" ", tabWidth), width: tabWidth}
	case !utf8.Valid(cluster) || !unicode.IsPrint(r):
		return cell{text: replacement, width: 1}
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return cell{text: string(cluster), width: 2}
	default:
		return cell{text: string(cluster), width: 1}
	}
}

// window cuts a line that is too wide so that its carets stay in view.
func window(cells []cell, first int) ([]cell, int) {
	from, before := first, 0
	for from > 0 && before+cells[from-1].width <= keptBefore {
		from--
		before += cells[from].width
	}
	to, total := from, 0
	for to < len(cells) && total+cells[to].width <= widestLine {
		total += cells[to].width
		to++
	}
	cut := cell{text: "…", width: 1}
	shown := append([]cell{}, cells[from:to]...)
	first -= from
	if from > 0 {
		shown = append([]cell{cut}, shown...)
		first++
	}
	if to < len(cells) {
		shown = append(shown, cut)
	}
	return shown, first
}

// printable replaces what could steer a terminal; line breaks stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			return r
		case r == '\t':
			return ' '
		}
		return unicode.ReplacementChar
	}, text)
}
