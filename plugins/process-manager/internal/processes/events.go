package processes

import (
	"sync"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// hub hands changes to those who listen. The zero value is ready.
type hub struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
}

// listener is one call of Events.
type listener struct {
	name    string      // of one process; empty for all
	changes chan change // closed when it has fallen behind
}

// change is what has happened to a process.
type change struct {
	of      *process
	version uint64 // of the process's state
	event   *processv1.EventsResponse
}

// maxBehind is how many changes a listener may be behind. 200 processes in a
// crash loop make some 1,000 in a second.
const maxBehind = 4096

// publish tells everybody of a change. The changes of one process come one after
// the other: its own goroutine tells of them.
func (h *hub) publish(p *process, removed bool) {
	h.mu.Lock()
	heard := len(h.listeners) > 0
	h.mu.Unlock()
	if !heard {
		return
	}
	state, version := p.status()
	happened := change{p, version, &processv1.EventsResponse{Time: timestamppb.Now(), Process: state, Removed: removed}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		if l.name != "" && l.name != p.name {
			continue
		}
		select {
		case l.changes <- happened:
		default:
			delete(h.listeners, l)
			close(l.changes)
		}
	}
}

// listen adds a listener; what is published from now on it gets.
func (h *hub) listen(name string) *listener {
	l := &listener{name: name, changes: make(chan change, maxBehind)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = make(map[*listener]struct{})
	}
	h.listeners[l] = struct{}{}
	return l
}

func (h *hub) drop(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// Events streams what happens to processes: first all of them as they are, then
// every change. Who reads too slowly gets ResourceExhausted and may call again.
func (m *Manager) Events(r *processv1.EventsRequest, stream grpc.ServerStreamingServer[processv1.EventsResponse]) error {
	if r.GetName() != "" {
		if err := checkName(r.GetName()); err != nil {
			return err
		}
	}
	ctx, stop := sdk.UntilDrain(stream.Context())
	defer stop()
	l := m.hub.listen(r.GetName())
	defer m.hub.drop(l)
	var sequence uint64
	send := func(event *processv1.EventsResponse) error {
		sequence++
		return stream.Send(&processv1.EventsResponse{
			Sequence: sequence, Time: event.GetTime(), Process: event.GetProcess(), Removed: event.GetRemoved(),
		})
	}
	seen := make(map[*process]uint64) // what was told of at first may come again as a change
	for _, p := range m.all() {
		if r.GetName() != "" && r.GetName() != p.name {
			continue
		}
		state, version := p.status()
		seen[p] = version
		if err := send(&processv1.EventsResponse{Time: timestamppb.Now(), Process: state}); err != nil {
			return err
		}
	}
	for {
		select {
		case c, ok := <-l.changes:
			if !ok {
				return status.Errorf(codes.ResourceExhausted, "%d events were not read in time; call again, the stream begins with all processes", maxBehind)
			}
			if known, ok := seen[c.of]; ok && c.version <= known && !c.event.GetRemoved() {
				continue
			}
			delete(seen, c.of)
			if err := send(c.event); err != nil {
				return err
			}
		case <-ctx.Done():
			return over(ctx)
		}
	}
}
