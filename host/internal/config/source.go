package config

import (
	"path/filepath"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// source is a config file as it was read: what diagnostics quote. Nobody
// writes it after newSource.
type source struct {
	parsed

	name string // as the operator gave it; the Filename of every range
	path string // absolute
	text []byte
}

// newSource reads the grammar of text, which is the content of the file name.
func newSource(name string, text []byte) *source {
	path, err := filepath.Abs(name)
	if err != nil {
		path = name // the working directory is gone
	}
	return &source{parsed: parse(text, name), name: name, path: path, text: text}
}

// resolve returns path as seen from the file's directory.
func (s *source) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(s.path), path)
}

// broken reports whether a loose syntax fault lies in the block at rng, but in
// none of the blocks within it. Whatever such a block seems to hold is a guess,
// so that it is not judged further.
func (s *source) broken(rng hcl.Range, body *hclsyntax.Body) bool {
	return anyDirect(s.loose, rng, body)
}

// gappy reports the same of any syntax fault. Such a block may lack what its
// file has.
func (s *source) gappy(rng hcl.Range, body *hclsyntax.Body) bool {
	return anyDirect(s.faults, rng, body)
}

// hasWhole reports whether the file has a block of this type without a syntax
// fault in it.
func (s *source) hasWhole(blockType string) bool {
	for _, block := range s.body.Blocks {
		if block.Type == blockType && !s.faulty(block.Range()) {
			return true
		}
	}
	return false
}

func anyDirect(faults hcl.Diagnostics, rng hcl.Range, body *hclsyntax.Body) bool {
	for _, fault := range faults {
		if !covers(rng, *fault.Subject) {
			continue
		}
		inner := false
		for _, block := range body.Blocks {
			inner = inner || covers(block.Range(), *fault.Subject)
		}
		if !inner {
			return true
		}
	}
	return false
}

// faulty reports whether a syntax fault lies anywhere in rng.
func (s *source) faulty(rng hcl.Range) bool {
	for _, fault := range s.faults {
		if covers(rng, *fault.Subject) {
			return true
		}
	}
	return false
}

// covers reports whether inner starts within outer, its very end included.
func covers(outer, inner hcl.Range) bool {
	return outer.Start.Byte <= inner.Start.Byte && inner.Start.Byte <= outer.End.Byte
}

// block says in which block of the file rng lies: the words for a sentence,
// and the subsystem's name where it is one. Both are "" outside of blocks.
func (s *source) block(rng hcl.Range) (words, subsystem string) {
	for _, block := range s.body.Blocks {
		switch {
		case !covers(block.Range(), rng):
			continue
		case block.Type == "subsystem" && len(block.Labels) > 0:
			return "subsystem " + strconv.Quote(block.Labels[0]), block.Labels[0]
		case block.Type == "client" && len(block.Labels) > 0:
			return "client " + strconv.Quote(block.Labels[0]), ""
		case block.Type == "host":
			return "host", ""
		}
	}
	return "", ""
}

// quote returns the text at rng when it is short and on one line; "" otherwise.
func (s *source) quote(rng hcl.Range) string {
	if !rng.CanSliceBytes(s.text) || rng.Start.Line != rng.End.Line || rng.End.Byte-rng.Start.Byte > 80 {
		return ""
	}
	return string(rng.SliceBytes(s.text))
}
