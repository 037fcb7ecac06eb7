package main

import (
	"bytes"
	"regexp"
	"strings"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxText    = 4096    // bytes of a line that is sent
	binaryHead = 8 << 10 // bytes in which a NUL makes a file binary
)

// query is what to look for.
type query struct {
	request       *filev1.SearchRequest
	place         place
	glob, exclude globs
	content       *regexp.Regexp // nil: by name alone
	most          int
}

// Search finds files by name, and lines in them by content, in the order of List.
func (m *manager) Search(r *filev1.SearchRequest, stream grpc.ServerStreamingServer[filev1.SearchResponse]) error {
	q, err := m.query(r)
	if err != nil {
		return err
	}
	dir, err := q.place.directory()
	if err != nil {
		return err
	}
	s := search{query: q, stream: stream, summary: &filev1.SearchSummary{}}
	dir.walk(q.place.path, s.visit)
	if s.err != nil {
		return s.err
	}
	return stream.Send(&filev1.SearchResponse{Summary: s.summary})
}

func (m *manager) query(r *filev1.SearchRequest) (q query, err error) {
	q = query{request: r, most: int(r.GetMaxResults())}
	if q.most == 0 {
		q.most = 1000
	}
	switch {
	case q.most > 100000:
		return q, status.Errorf(codes.InvalidArgument, "max_results is %d, at most 100000", q.most)
	case r.GetContext() > 20:
		return q, status.Errorf(codes.InvalidArgument, "context is %d, at most 20", r.GetContext())
	case r.GetGitignore():
		return q, status.Error(codes.Unimplemented, "this file manager does not read .gitignore files; use exclude")
	}
	if q.glob, err = compileGlobs(r.GetGlob()...); err != nil {
		return q, status.Errorf(codes.InvalidArgument, "glob: %v", err)
	}
	if q.exclude, err = compileGlobs(r.GetExclude()...); err != nil {
		return q, status.Errorf(codes.InvalidArgument, "exclude: %v", err)
	}
	if r.GetContent() != "" {
		flags := ""
		if r.GetIgnoreCase() {
			flags = "(?i)"
		}
		if q.content, err = regexp.Compile(flags + r.GetContent()); err != nil {
			return q, status.Errorf(codes.InvalidArgument, "content: %v", err)
		}
	}
	q.place, err = m.find(r.GetRoot(), r.GetPath())
	return q, err
}

// search is one that is under way.
type search struct {
	query

	stream  grpc.ServerStreamingServer[filev1.SearchResponse]
	summary *filev1.SearchSummary
	sent    int
	err     error
}

func (s *search) visit(path string, n *node) bool {
	seen := relative(s.place.path, path)
	if s.err != nil || s.summary.Truncated || s.place.denies(path) || s.exclude.matchAny(seen) {
		return false
	}
	if err := s.stream.Context().Err(); err != nil {
		s.err = status.FromContextError(err).Err()
		return false
	}
	if n.dir == nil {
		s.summary.Files++
	}
	switch {
	case !s.glob.match(seen):
	case s.content == nil:
		s.send(&filev1.Match{Entry: n.entry(path)})
	case n.dir != nil:
	case bytes.IndexByte(n.content[:min(binaryHead, len(n.content))], 0) >= 0:
		s.summary.Skipped++
	default:
		s.lines(path, n)
	}
	return n.dir != nil
}

// lines sends the lines of a file that match.
func (s *search) lines(path string, n *node) {
	lines := bytes.Split(bytes.TrimSuffix(n.content, []byte("\n")), []byte("\n"))
	around := int(s.request.GetContext())
	for i, line := range lines {
		at := s.content.FindIndex(bytes.TrimSuffix(line, []byte("\r")))
		if at == nil {
			continue
		}
		s.send(&filev1.Match{
			Entry: n.entry(path), Line: uint64(i + 1), Column: uint32(at[0] + 1), Text: text(line), //nolint:gosec // G115: positions in memory
			Before: texts(lines[max(0, i-around):i]), After: texts(lines[i+1 : min(len(lines), i+1+around)]),
		})
		if s.err != nil || s.summary.Truncated {
			return
		}
	}
}

func (s *search) send(m *filev1.Match) {
	if s.sent == s.most {
		s.summary.Truncated = true
		return
	}
	s.sent++
	s.err = s.stream.Send(&filev1.SearchResponse{Match: m})
}

// text is a line as a message can carry it.
func text(line []byte) string {
	line = bytes.TrimSuffix(line, []byte("\r"))
	return strings.ToValidUTF8(string(line[:min(maxText, len(line))]), "\uFFFD")
}

func texts(lines [][]byte) (all []string) {
	for _, line := range lines {
		all = append(all, text(line))
	}
	return all
}
