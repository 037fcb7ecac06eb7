package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
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

// ConfigPlaces returns where the blocks within the config{} block stand of which
// message, which DecodeConfig returned, was made.
func (s *Subsystem) ConfigPlaces(message proto.Message) []*pluginv1.Place {
	if s.plugin.block == nil || message == nil {
		return nil
	}
	var places []*pluginv1.Place
	eachBlock(message.ProtoReflect(), "", func(path string) {
		if at, ok := locate(s.plugin.block, path); ok {
			places = append(places, &pluginv1.Place{Path: path, File: at.Filename, Line: uint32(at.Start.Line)}) //nolint:gosec // G115: lines are counted from 1
		}
	})
	return places
}

// eachBlock calls found with the path of every message below message that is
// written as a block, outer ones first.
func eachBlock(message protoreflect.Message, path string, found func(path string)) {
	inner := func(value protoreflect.Value, path string) {
		found(path)
		eachBlock(value.Message(), path, found)
	}
	message.Range(func(fd protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		at := join(path, string(fd.Name()))
		switch {
		case !isBlock(fd):
		case fd.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, entry protoreflect.Value) bool {
				inner(entry, at+"["+keyText(key)+"]")
				return true
			})
		case fd.IsList():
			for i := range value.List().Len() {
				inner(value.List().Get(i), fmt.Sprintf("%s[%d]", at, i))
			}
		default:
			inner(value, at)
		}
		return true
	})
}
