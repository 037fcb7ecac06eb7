package cache

import (
	"context"
	"net/http"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
)

const (
	defaultMemory  = 64 << 20
	defaultDisk    = 1 << 30
	defaultLargest = 1 << 20
)

// Options are what a cache depends on.
type Options struct {
	// Profiles by name: what a directory has of a profile with other secrets is
	// somebody else's.
	Profiles map[string]*apiv1.Profile

	Metrics *Metrics // may be nil

	Now  func() time.Time                 // default time.Now
	Warn func(text string, fields ...any) // default nothing
}

// Open returns a cache as config says, which Over puts to use. The caller closes
// it. Faults of config are sdk.FieldErrors with paths that begin with "cache".
func Open(config *apiv1.Cache, o Options) (*Cache, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	room := or(config.GetMemory(), defaultMemory)
	largest := or(config.GetMaxResponse(), defaultLargest)
	if config.GetMaxResponse() == 0 {
		largest = min(largest, room)
	}
	if largest > room && config.GetDir() == "" {
		return nil, sdk.Invalid("cache.max_response", "%d bytes are more than the %d of memory; raise memory or lower max_response", largest, room)
	}
	c := &Cache{
		now: o.Now, metrics: o.Metrics, memory: newMemory(room), largest: largest, fillRoom: max(room, 4*largest),
		refreshing: map[string]bool{}, fills: fills{},
	}
	if config.GetDir() != "" {
		var err error
		if c.disk, err = openDisk(config.GetDir(), or(config.GetDisk(), defaultDisk), o.Warn); err != nil {
			return nil, sdk.Invalid("cache.dir", "%v", err)
		}
		if c.partitions, err = partition(c.disk.root, o.Profiles); err != nil {
			_ = c.disk.close()
			return nil, sdk.Invalid("cache.dir", "%v", err)
		}
	}
	// Background: a revalidation behind a caller's back is nobody's call.
	root, end := context.WithCancel(context.Background())
	c.end = end
	c.background = func() (context.Context, context.CancelFunc) { return context.WithTimeout(root, refreshTime) }
	return c, nil
}

// Over returns the cache as a RoundTripper that asks next what it does not have.
// It is called once, before the first request.
func (c *Cache) Over(next http.RoundTripper) http.RoundTripper {
	c.next = next
	return c
}

func or(n uint64, standard int64) int64 {
	if n == 0 {
		return standard
	}
	return int64(min(n, 1<<50))
}
