package search

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"sync"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
)

// errEnough ends a search that has found as much as was asked for.
var errEnough = errors.New("enough")

// Run searches below root and calls emit for each match, from one goroutine, in
// the order of paths: part by part, a directory before what is in it. It follows
// no links and opens regular files only. What vanishes meanwhile is passed over.
// Errors are those of opening the directory, of emit and of ctx.
func Run(ctx context.Context, root *jail.Root, q Query, emit func(Match) error) (Summary, error) {
	s := &search{query: &q, root: root, emit: emit}
	var err error
	if q.content == nil {
		err = s.names(ctx)
	} else {
		err = s.lines(ctx)
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return s.summary, err
}

type search struct {
	query   *Query
	root    *jail.Root
	emit    func(Match) error
	found   int
	summary Summary
}

// match hands a match over, or ends the search.
func (s *search) match(m Match) error {
	if s.found == s.query.maxResults {
		s.summary.Truncated = true
		return errEnough
	}
	s.found++
	return s.emit(m)
}

// names finds by name alone.
func (s *search) names(ctx context.Context) error {
	w := &walk{query: s.query}
	w.visit = func(d *directory, e entry) error {
		info, err := d.dir.Stat(e.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			s.summary.Skipped++
			return nil //nolint:nilerr // it is counted, and the search goes on without it
		}
		s.summary.Files++
		return s.match(Match{Path: d.path + e.name, Info: info})
	}
	err := w.start(ctx, s.root)
	s.summary.Skipped += w.skipped
	return err
}

// batchSize is how many files a worker gets at a time: enough to make handing
// them over cheap, and so few that all of a small search are busy.
const batchSize = 16

// batch is files to read. Batches are emitted in the order in which they were
// made.
type batch struct {
	files  []file
	result chan result // closed by the worker
}

type file struct {
	dir  *directory // held
	name string
}

// result is a part of what was found in a batch.
type result struct {
	matches        []Match
	files, skipped uint64
	err            error // that ends the search
}

// lines finds by content: one goroutine walks, others read, this one emits.
// A worker whose turn it is not yet waits when it has found a lot, so that memory
// is bounded; it is never the one that has the batch whose turn it is.
func (s *search) lines(ctx context.Context) error {
	workers := runtime.GOMAXPROCS(0)
	ctx, cancel := context.WithCancel(ctx)
	var (
		group   sync.WaitGroup
		work    = make(chan *batch)
		ordered = make(chan *batch, 2*workers)
		w       = &walk{query: s.query}
		walkErr error
	)
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		defer close(ordered)
		defer close(work)
		walkErr = feed(ctx, w, s.root, ordered, work)
	})
	for range workers {
		group.Go(func() {
			reader := reader{query: s.query, scanner: scanner{matcher: s.query.content, context: s.query.context}}
			for b := range work {
				reader.read(ctx, b)
			}
		})
	}
	for b := range ordered {
		for r := range b.result {
			if err := s.take(r); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.summary.Skipped += w.skipped
	return walkErr
}

func (s *search) take(r result) error {
	s.summary.Files += r.files
	s.summary.Skipped += r.skipped
	for _, m := range r.matches {
		if err := s.match(m); err != nil {
			return err
		}
	}
	return r.err
}

// feed walks and hands out batches, in order to one channel and to whoever is
// free to the other.
func feed(ctx context.Context, w *walk, root *jail.Root, ordered, work chan<- *batch) error {
	var files []file
	flush := func() error {
		b := &batch{files: files, result: make(chan result, 1)}
		files = nil
		for _, to := range []chan<- *batch{ordered, work} {
			select {
			case to <- b:
			case <-ctx.Done():
				b.release()
				return ctx.Err()
			}
		}
		return nil
	}
	w.visit = func(d *directory, e entry) error {
		if !e.kind.IsRegular() {
			return nil
		}
		d.hold()
		if files = append(files, file{d, e.name}); len(files) < batchSize {
			return nil
		}
		return flush()
	}
	if err := w.start(ctx, root); err != nil || len(files) == 0 {
		return err
	}
	return flush()
}

// release lets go of the directories of files that nobody will read.
func (b *batch) release() {
	for _, f := range b.files {
		f.dir.release()
	}
	b.files = nil
	close(b.result)
}

// reader reads batches. It is for one goroutine.
type reader struct {
	query   *Query
	scanner scanner
	result  result
	size    int // of the text in result
}

// read sends what is in the files of a batch.
func (r *reader) read(ctx context.Context, b *batch) {
	defer b.release()
	r.result, r.size = result{}, 0
	for _, f := range b.files {
		err := r.file(ctx, f, b.result)
		switch {
		case err == nil || errors.Is(err, errEnough):
			r.result.files++
		case ctx.Err() != nil:
			return
		case isFatal(err):
			r.result.err = err
		case !errors.Is(err, fs.ErrNotExist):
			r.result.skipped++
		}
	}
	_ = r.send(ctx, b.result)
}

// file looks for lines in one file.
func (r *reader) file(ctx context.Context, f file, out chan<- result) error {
	file, err := f.dir.openFile(f.name)
	if err != nil {
		return err
	}
	defer file.close()
	found := 0
	return r.scanner.scan(ctx, file, func(m Match) error {
		if found > r.query.maxResults {
			return errEnough
		}
		found++
		m.Path, m.Info = f.dir.path+f.name, file.info
		return r.add(ctx, m, out)
	})
}

// add puts a match to the others and sends them when they are many.
func (r *reader) add(ctx context.Context, m Match, out chan<- result) error {
	const many = 256 << 10 // bytes
	r.result.matches = append(r.result.matches, m)
	r.size += 256 + len(m.Text) + len(strings.Join(m.Before, "")) + len(strings.Join(m.After, ""))
	if r.size < many {
		return nil
	}
	return r.send(ctx, out)
}

func (r *reader) send(ctx context.Context, out chan<- result) error {
	defer func() { r.result, r.size = result{}, 0 }()
	select {
	case out <- r.result:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
