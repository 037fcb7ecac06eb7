package resolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// exchanger is one way of asking a server. It is safe for concurrent use.
type exchanger interface {
	// exchange sends query, whose id is 0, and returns the answer: one that fits
	// the question, of any id. It keeps to ctx, which has a deadline.
	exchange(ctx context.Context, query []byte) ([]byte, error)
	// close ends connections, and what is under way on them.
	close()
}

// skipFor is how long a server that does not answer is asked only after all
// others.
const skipFor = 10 * time.Second

// server is an upstream.
type server struct {
	endpoint
	exchanger
	dead atomic.Int64 // until when, on the resolver's clock
}

// servers are those that are in force together.
type servers struct {
	all   []*server
	users sync.WaitGroup
}

func (s *servers) close() {
	s.users.Wait()
	for _, server := range s.all {
		server.close()
	}
}

// upstream is who is asked.
type upstream struct {
	settings settings
	conf     *watched // nil: settings name the servers

	mu     sync.Mutex
	now    *servers
	before sync.WaitGroup // those that were in force and are closing
}

func newUpstream(s settings, resolvConf string) *upstream {
	u := &upstream{settings: s}
	if len(s.upstreams) > 0 {
		u.now = u.connectTo(s.upstreams)
		return u
	}
	u.conf = &watched{path: resolvConf}
	return u
}

func (u *upstream) connectTo(endpoints []endpoint) *servers {
	s := &servers{}
	for _, e := range endpoints {
		var x exchanger
		switch e.scheme {
		case "https":
			x = newHTTPS(e, u.settings)
		case "udp":
			x = newUDP(e, u.settings)
		default:
			x = newStream(e, u.settings)
		}
		s.all = append(s.all, &server{endpoint: e, exchanger: x})
	}
	return s
}

// current returns the servers in force at now. The caller calls users.Done.
func (u *upstream) current(now time.Duration) *servers {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conf != nil {
		if content, changed := u.conf.read(now); changed || u.now == nil {
			if old := u.now; old != nil {
				u.before.Go(old.close)
			}
			u.now = u.connectTo(parseResolvConf(content, u.settings.listen))
		}
	}
	u.now.users.Add(1)
	return u.now
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now != nil {
		u.now.close()
	}
	u.before.Wait()
}

// ask asks the servers in turn until one has an answer. The error says what each
// of them did.
func (r *Resolver) ask(ctx context.Context, key string) (*entry, error) {
	in := r.conf.current(r.now())
	defer in.users.Done()
	if len(in.all) == 0 {
		return nil, errors.New("no server to ask in resolv.conf")
	}
	query := newQuery(key)
	var faults []error
	for _, s := range in.inOrder(r.now()) {
		msg, err := r.askServer(ctx, s, query)
		if err == nil {
			var e *entry
			if e, err = r.reader.read(msg, key, r.now()); err == nil {
				return e, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		faults = append(faults, fmt.Errorf("%v: %w", s.endpoint, err))
	}
	return nil, errors.Join(faults...)
}

func (r *Resolver) askServer(ctx context.Context, s *server, query []byte) ([]byte, error) {
	r.counts.queries.Add(1)
	limited, cancel := context.WithTimeout(ctx, r.conf.settings.timeout)
	defer cancel()
	msg, err := s.exchange(limited, query)
	switch {
	case err == nil:
		s.dead.Store(0)
	case ctx.Err() == nil && !errors.Is(err, errMalformed):
		s.dead.Store(int64(r.now() + skipFor))
	}
	return msg, err
}

// inOrder returns the servers as they are to be asked: those that did not answer
// just now come last.
func (s *servers) inOrder(now time.Duration) []*server {
	ordered := make([]*server, 0, len(s.all))
	var dead []*server
	for _, server := range s.all {
		if time.Duration(server.dead.Load()) > now {
			dead = append(dead, server)
			continue
		}
		ordered = append(ordered, server)
	}
	return append(ordered, dead...)
}
