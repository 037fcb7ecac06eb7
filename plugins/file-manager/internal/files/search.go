package files

import (
	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/search"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Search finds files by name, and lines in them by content, in the order of paths.
func (m *Manager) Search(request *filev1.SearchRequest, stream grpc.ServerStreamingServer[filev1.SearchResponse]) error {
	t, err := m.enter(stream.Context(), request.GetRoot())
	if err != nil {
		return err
	}
	defer t.leave()
	query, err := search.Parse(request)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	found, err := t.find(request.GetPath())
	if err != nil {
		return err
	}
	found.Close()
	if !found.Info.IsDir() {
		return t.failf(codes.FailedPrecondition, request.GetPath(), "is not a directory; use Read")
	}
	query.Dir, query.Hidden = found.Path, t.Hidden
	var entry *filev1.Entry // of the file that the last match was in
	summary, err := search.Run(stream.Context(), t.jail, query, func(match search.Match) error {
		if entry.GetPath() != match.Path {
			entry = t.entryFor(match.Path, match.Info)
		}
		return stream.Send(&filev1.SearchResponse{Match: &filev1.Match{
			Entry: entry, Line: match.Line, Column: match.Column, Text: match.Text, Before: match.Before, After: match.After,
		}})
	})
	m.searches.files.Add(float64(summary.Files))
	m.searches.skipped.Add(float64(summary.Skipped))
	if err != nil {
		return t.explain(request.GetPath(), err)
	}
	return stream.Send(&filev1.SearchResponse{Summary: &filev1.SearchSummary{
		Files: summary.Files, Skipped: summary.Skipped, Truncated: summary.Truncated,
	}})
}

// entryFor is the entry of what was found by others, with the target of a link.
func (t *tree) entryFor(path string, info jail.Info) *filev1.Entry {
	entry := entryOf(path, info)
	if !info.IsLink() {
		return entry
	}
	parent, name := jail.Split(path)
	dir, err := t.jail.Dir(parent)
	if err != nil {
		return entry // it has vanished
	}
	defer dir.Close()
	if target, err := dir.Readlink(name); err == nil {
		entry.Target = shown(target)
	}
	return entry
}

// searchMetrics are of Search.
type searchMetrics struct{ files, skipped prometheus.Counter }

func newSearchMetrics(registry prometheus.Registerer) searchMetrics {
	m := searchMetrics{
		files: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_searched_total",
			Help: "Files that searches have looked at.",
		}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_search_skipped_total",
			Help: "Files and directories that searches could not read, or that are binary.",
		}),
	}
	registry.MustRegister(m.files, m.skipped)
	return m
}
