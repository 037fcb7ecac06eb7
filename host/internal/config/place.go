package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Source returns where the value at a path stands in the file, which is called
// as the operator did. Paths are those of the blocks and arguments within the
// subsystem's block: `limits.timeout`, `limits.per_key["domain"].concurrency`,
// `rate["domain"].override["*.x.com"].limit`, `breaker.failures` for the
// breaker without a key, `breaker["domain"].failures` for the one with it. A
// path may end in a block. ok is false for a default.
func (s *Subsystem) Source(path string) (file string, line int, ok bool) {
	at, ok := s.at[path]
	return at.Filename, at.Start.Line, ok
}

// WarnAt returns a warning about the value at a path, see Source; of one that
// is not written, about the block nearest to it.
func (s *Subsystem) WarnAt(path, summary, detail string) *Report {
	at, ok := s.at[path]
	for !ok && path != "" {
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
		at, ok = s.at[path]
	}
	if !ok {
		at = s.plugin.header
	}
	return newReport(s.plugin.src, hcl.Diagnostics{warning(at, summary, detail)})
}
