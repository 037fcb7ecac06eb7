package request

import (
	"io"
	"strings"
)

// content resolves the forms @file, @- and @@text of a value.
func (b *builder) content(at place, value string) ([]byte, error) {
	name, isReference := strings.CutPrefix(value, "@")
	switch {
	case !isReference || b.ReadFile == nil:
		return []byte(value), nil
	case strings.HasPrefix(name, "@"):
		return []byte(name), nil
	case name == "":
		err := at.errorf("@ wants the name of a file behind it")
		err.Hint = "@FILE is the content of a file, @- standard input, and @@ a literal @"
		return nil, err
	case name == "-":
		return b.standardInput(at)
	}
	content, err := b.ReadFile(name)
	if err != nil {
		problem := at.errorf("%v", err)
		problem.cause = err
		problem.Hint = "a value that starts with @ names a file; a literal @ is written @@"
		return nil, problem
	}
	return content, nil
}

func (b *builder) standardInput(at place) ([]byte, error) {
	if b.stdinBy != "" {
		return nil, at.errorf("standard input was read for %s already", b.stdinBy)
	}
	b.stdinBy = at.path
	content, err := io.ReadAll(b.Stdin)
	if err != nil {
		problem := at.errorf("standard input: %v", err)
		problem.cause = err
		return nil, problem
	}
	return content, nil
}
