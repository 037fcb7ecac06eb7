package cli

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/gaia-go/gaia/host/internal/top"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// watchedHost is the host that `gaia top` watches. It may end and come back.
// Safe for concurrent use.
type watchedHost struct {
	connect func(context.Context) (*host, error)

	mu      sync.Mutex
	host    *host             // nil after an error
	methods map[string]string // a method of each subsystem, in full, by the executable's checksum
}

// shownEvents is how many of a subsystem's events the screen has room for.
const shownEvents = 20

// current returns the host, after a new look for it if it was lost.
func (w *watchedHost) current(ctx context.Context) (*host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host == nil {
		h, err := w.connect(ctx)
		if err != nil {
			return nil, err
		}
		w.host = h
	}
	return w.host, nil
}

// Stats reads the counters.
func (w *watchedHost) Stats(ctx context.Context) (*hostv1.StatsResponse, error) {
	h, err := w.current(ctx)
	if err != nil {
		return nil, err
	}
	stats, err := h.Stats(ctx, &hostv1.StatsRequest{})
	if err != nil {
		w.lose(h)
		return nil, describeError(err)
	}
	return stats, nil
}

// Details asks for a subsystem's policies and last events. The policies are
// those of its busiest method, or of any if none was called.
func (w *watchedHost) Details(ctx context.Context, s top.Subsystem) (*top.Details, error) {
	h, err := w.current(ctx)
	if err != nil {
		return nil, err
	}
	events, err := lastEvents(ctx, h, s.Name)
	if err != nil {
		return nil, err
	}
	d := &top.Details{Events: events}
	method, err := w.method(ctx, h, s)
	if err != nil || method == "" {
		return d, nil //nolint:nilerr // a plugin that was never seen cannot be described, and has events still
	}
	reply, err := h.Explain(ctx, &hostv1.ExplainRequest{Subsystem: s.Name, Method: "/" + method})
	if err == nil {
		d.Method, d.Policies = method, reply.GetPolicies()
	}
	return d, nil // events without policies are better than nothing
}

// method is what the policies of a subsystem are shown for.
func (w *watchedHost) method(ctx context.Context, h *host, s top.Subsystem) (string, error) {
	if len(s.Methods) > 0 {
		return s.Methods[0].Name, nil
	}
	w.mu.Lock()
	known, ok := w.methods[s.SHA256]
	w.mu.Unlock()
	if ok || s.SHA256 == "" {
		return known, nil
	}
	d, err := h.describe(ctx, s.Name)
	if err != nil {
		return "", err
	}
	if all := d.Methods(); len(all) > 0 {
		known = string(all[0].Descriptor.Parent().FullName()) + "/" + string(all[0].Descriptor.Name())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.methods == nil {
		w.methods = make(map[string]string)
	}
	w.methods[s.SHA256] = known
	return known, nil
}

func lastEvents(ctx context.Context, h *host, subsystem string) ([]*hostv1.EventsResponse, error) {
	stream, err := h.Events(ctx, &hostv1.EventsRequest{Subsystem: subsystem, Tail: shownEvents})
	if err != nil {
		return nil, err
	}
	var events []*hostv1.EventsResponse
	for {
		event, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return events, nil
		case err != nil:
			return nil, err
		}
		events = append(events, event)
	}
}

// lose drops a connection that gave no answer.
func (w *watchedHost) lose(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host == h {
		w.host = nil
		h.Close()
	}
}

func (w *watchedHost) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host != nil {
		w.host.Close()
		w.host = nil
	}
}
