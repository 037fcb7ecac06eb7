package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxMended bounds how many lines are taken out of a file to read on behind a
// fault, at one parse each.
const maxMended = 50

// parsed is what the grammar makes of a file.
type parsed struct {
	body *hclsyntax.Body

	// faults are all that the grammar objects to; each has a Subject. The loose
	// ones among them may have moved what follows into the wrong block.
	faults, loose hcl.Diagnostics

	twice  hcl.Diagnostics // arguments set twice; the body holds the first
	hidden []hcl.Range     // what may be secret on the lines of faults
}

// parse reads text. The grammar's parser gives up at the first fault, and a
// quote that is not closed swallows the text up to the next one. So the line at
// fault is taken out and the rest read again, until there is nothing left to
// report: one slip is one diagnostic, and all slips are found.
func parse(text []byte, name string) parsed {
	var p parsed
	for {
		tokens, _ := hclsyntax.LexConfig(text, name, hcl.InitialPos)
		fault := unclosedQuote(text, tokens)
		if fault == nil {
			fault = tooNested(tokens)
		}
		if fault == nil {
			fault = p.read(text, name)
		}
		if fault == nil {
			for _, d := range p.twice {
				p.hidden = append(p.hidden, configText(tokens, d.Subject.Start.Line)...)
			}
			return p
		}
		p.faults = append(p.faults, fault)
		p.hidden = append(p.hidden, configText(tokens, fault.Subject.Start.Line)...)
		rest, sound := mend(text, fault.Subject)
		if !sound {
			p.loose = append(p.loose, fault)
		}
		if rest == nil || len(p.faults) == maxMended {
			if p.body == nil {
				p.body = &hclsyntax.Body{}
			}
			return p
		}
		text = rest
	}
}

// read parses text into p and returns the first fault; nil when there is none.
func (p *parsed) read(text []byte, name string) *hcl.Diagnostic {
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	p.body, _ = file.Body.(*hclsyntax.Body)
	p.twice = nil
	for _, d := range diags {
		if d.Summary != "Attribute redefined" {
			if d.Subject == nil {
				d.Subject = &hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
			}
			return remedied(text, d)
		}
		p.twice = append(p.twice, duplicateArgument(text, *d.Subject))
	}
	return nil
}

// mend returns text without the line on which a fault is, every other byte in
// its place. It is nil when that would not help. sound reports whether the
// rest reads as if the line had never been.
func mend(text []byte, at *hcl.Range) (rest []byte, sound bool) {
	begin := bytes.LastIndexByte(text[:at.Start.Byte], '\n') + 1
	end := len(text)
	if n := bytes.IndexByte(text[begin:], '\n'); n >= 0 {
		end = begin + n
	}
	line := text[begin:end]
	bare := bytes.TrimSpace(line)
	rest = bytes.Clone(text)
	switch {
	case len(bare) == 0:
		return nil, false
	case string(bare) == "}":
		sound = false // one too many: the blocks around it are not what they seem
	case balanced(line):
		sound = true
	case closeLabel(rest[at.Start.Byte:end]):
		return rest, true
	default:
		return nil, false
	}
	for i := begin; i < end; i++ {
		rest[i] = ' '
	}
	return rest, sound
}

// balanced reports whether a line closes what it opens.
func balanced(line []byte) bool {
	for _, pair := range []string{"{}", "[]", "()"} {
		if bytes.Count(line, []byte(pair[:1])) != bytes.Count(line, []byte(pair[1:])) {
			return false
		}
	}
	return !bytes.Contains(line, []byte("<<"))
}

// closeLabel closes the quote of a block's label that line starts with, as in
// `"name {`, and reports whether it is one.
func closeLabel(line []byte) bool {
	brace := bytes.Index(line, []byte(" {"))
	if brace < 2 || bytes.Count(line[:brace], []byte(`"`)) != 1 || !balanced(line[:brace]) {
		return false
	}
	if after := bytes.TrimSpace(line[brace+len(" {"):]); len(after) > 0 && after[0] != '#' {
		return false
	}
	line[brace] = '"'
	return true
}

// remedied adds to the parser's diagnostics what to write instead, where they
// do not say.
func remedied(text []byte, d *hcl.Diagnostic) *hcl.Diagnostic {
	more := ""
	switch d.Summary {
	case "Invalid single-argument block definition", "Missing newline after argument":
		more = "Write each argument on a line of its own."
	case "Invalid expression":
		more = `A value is text in quotes, a number, true or false, a [list], or a call such as env("NAME").`
	case "Unclosed configuration block":
		more = "Write the missing }."
	case "Argument or block definition required":
		more = `An argument is written name = value, a block is written name { … }.`
		if string(d.Subject.SliceBytes(text)) == "}" {
			more = "Remove this }, or one too many above it."
		}
	}
	if more != "" {
		d.Detail = strings.TrimSpace(d.Detail + " " + more)
	}
	return d
}

func duplicateArgument(text []byte, at hcl.Range) *hcl.Diagnostic {
	return fault(at, "Duplicate argument",
		fmt.Sprintf("%s was set before in this block. Each argument is set once; remove one of them.", at.SliceBytes(text)))
}

// unclosedQuote returns the fault of the first quote that its line does not
// close; nil when all are closed.
func unclosedQuote(text []byte, tokens hclsyntax.Tokens) *hcl.Diagnostic {
	i := slices.IndexFunc(tokens, func(t hclsyntax.Token) bool { return t.Type == hclsyntax.TokenQuotedNewline })
	if i < 0 {
		return nil
	}
	open := i
	for open > 0 && tokens[open].Type != hclsyntax.TokenOQuote {
		open--
	}
	start, end := tokens[open].Range.Start, tokens[i].Range.Start
	line := bytes.TrimRight(text[start.Byte:end.Byte], "\r\n")
	end = start
	end.Byte += len(line)
	end.Column += graphemes(line)
	return fault(hcl.Range{Filename: tokens[i].Range.Filename, Start: start, End: end}, "Unclosed quote",
		`The text that begins here has no closing quote on its line. Write the missing ", or \n for a line break within the text.`)
}

// graphemes counts what a reader takes for characters; HCL's columns do too.
func graphemes(text []byte) int {
	n, err := textseg.TokenCount(text, textseg.ScanGraphemeClusters)
	if err != nil {
		return len(text)
	}
	return n
}
