// Package cache keeps responses by the rules of a private cache: RFC 9111, and
// RFC 5861 for stale ones. It is a decorator of http.RoundTripper.
//
// A request without its own conditions travels judge → use of a stored response,
// or fetch: the server is asked, with the stored response's validators if it has
// any. What comes back is kept while the caller reads it.
package cache

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

const (
	// refreshTime bounds a revalidation that no caller waits for.
	refreshTime = 30 * time.Second

	// refreshes is how many of them run at once; more are left to the next caller.
	refreshes = 32
)

// Cache keeps responses. It is safe for concurrent use.
type Cache struct {
	next    http.RoundTripper
	now     func() time.Time
	metrics *Metrics
	memory  *memory
	disk    *disk // nil for none
	largest int64 // bytes of a body

	partitions map[string]string // by profile; see partition

	background func() (context.Context, context.CancelFunc)
	end        context.CancelFunc
	refreshers sync.WaitGroup

	filling  atomic.Int64 // bytes of bodies on their way in
	fillRoom int64        // for them; who finds none is not kept

	mu         sync.Mutex
	closed     bool
	refreshing map[string]bool // by key and variant
	fills      fills
}

// RoundTrip answers request from what is kept, or asks the server. Beside the
// errors of the next round tripper it has none.
func (c *Cache) RoundTrip(request *http.Request) (*http.Response, error) {
	asked := call.From(request.Context())
	response, err := c.answer(request, asked)
	if err == nil {
		c.metrics.count(asked.Outcome().Cache)
	}
	return response, err
}

func (c *Cache) answer(request *http.Request, asked *call.Call) (*http.Response, error) {
	note(asked, apiv1.CacheStatus_CACHE_STATUS_UNSPECIFIED)
	if asked.Cache == apiv1.CacheMode_BYPASS || !answerable(request) {
		return c.pass(request, asked.Profile)
	}
	key := c.keyOf(request, asked.Profile)
	want := wishOf(request, asked.Cache, asked.Profile, c.now())
	stored := c.find(key, request)
	verdict := validate
	if stored != nil {
		verdict = want.judge(stored)
	}
	switch verdict {
	case hit:
		note(asked, apiv1.CacheStatus_HIT)
		return stored.response(request, want.now, false), nil
	case staleRefresh:
		c.refresh(stored, request, asked)
		fallthrough
	case stale:
		note(asked, apiv1.CacheStatus_STALE)
		return stored.response(request, want.now, false), nil
	case validate:
	}
	if want.onlyIfCached {
		note(asked, apiv1.CacheStatus_MISS)
		return nothing(request), nil
	}
	return c.fetch(request, asked, key, want, stored)
}

// answerable reports whether a stored response can be the answer to request.
// One with conditions or a range of its own is between caller and server.
func answerable(request *http.Request) bool {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		return false
	}
	if request.Body != nil && request.Body != http.NoBody {
		return false
	}
	for _, name := range [...]string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range"} {
		if len(request.Header[name]) > 0 {
			return false
		}
	}
	return true
}

func note(c *call.Call, status apiv1.CacheStatus) {
	c.Note(func(o *call.Outcome) { o.Cache = status })
}

// nothing is the answer to only-if-cached where nothing is (RFC 9111, 5.2.1.7).
func nothing(request *http.Request) *http.Response {
	return &http.Response{
		Status: "504 Gateway Timeout", StatusCode: http.StatusGatewayTimeout,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: request,
	}
}

// find returns the stored response for request, or nil.
func (c *Cache) find(key string, request *http.Request) *entry {
	if e := c.memory.find(key, request); e != nil || c.disk == nil {
		return e
	}
	fill := c.fill(key)
	e := c.disk.find(key, request)
	if e != nil {
		c.memory.put(e)
	}
	if !fill.finish() && e != nil { // forgotten meanwhile
		c.memory.remove(e.Key, e.Variant)
		return nil
	}
	return e
}

func (c *Cache) put(e *entry) {
	c.memory.put(e)
	if c.disk != nil {
		c.disk.put(e)
	}
	c.metrics.measure(c)
}

func (c *Cache) remove(e *entry) {
	c.memory.remove(e.Key, e.Variant)
	if c.disk != nil {
		c.disk.remove(e.Key, e.Variant)
	}
	c.metrics.measure(c)
}

// fetch asks the server, with the validators of stored if there is one.
func (c *Cache) fetch(request *http.Request, asked *call.Call, key string, want wish, stored *entry) (*http.Response, error) {
	fill := c.fill(key)
	response, err := c.next.RoundTrip(conditional(request, stored))
	received := c.now()
	if stored != nil && failed(response, err) && request.Context().Err() == nil && want.afterError(stored) {
		fill.drop()
		discard(response)
		note(asked, apiv1.CacheStatus_STALE)
		return stored.response(request, received, false), nil
	}
	note(asked, apiv1.CacheStatus_MISS)
	if err != nil {
		fill.drop()
		return nil, err
	}
	if stored != nil && hasValidator(stored.Header) && response.StatusCode == http.StatusNotModified {
		return c.confirmed(request, asked, want, stored, response, fill)
	}
	if request.Method == http.MethodHead {
		fill.drop()
		if stored != nil && response.StatusCode == http.StatusOK && !sameBody(stored, response) {
			c.remove(stored) // RFC 9111, 4.3.5
		}
		return response, nil
	}
	if !storable(want, response) || response.ContentLength > c.largest {
		fill.drop()
		if stored != nil && response.StatusCode < 500 {
			c.remove(stored) // the server has another answer now
		}
		return response, nil
	}
	fill.entry = newEntry(key, request, response, want.now, received)
	response.Body = fill.around(response)
	return response, nil
}

// confirmed uses stored, of which the server has said that it is still right.
func (c *Cache) confirmed(
	request *http.Request, asked *call.Call, want wish, stored *entry, response *http.Response, fill *fill,
) (*http.Response, error) {
	discard(response)
	if tag := response.Header.Get("Etag"); tag != "" && weak(tag) != weak(stored.Header.Get("Etag")) {
		// Confirmed was something else, which is not here (RFC 9111, 4.3.4).
		fill.drop()
		c.remove(stored)
		return c.fetch(request, asked, stored.Key, want, nil)
	}
	fresh := stored.refreshed(request, response, want.now, c.now())
	if parseDirectives(response.Header).has("no-store") || want.noStore {
		fill.drop()
	} else {
		if fresh.Variant != stored.Variant {
			c.remove(stored)
		}
		fill.keep(fresh)
	}
	note(asked, apiv1.CacheStatus_REVALIDATED)
	return fresh.response(request, c.now(), true), nil
}

// conditional is request with the validators of stored.
func conditional(request *http.Request, stored *entry) *http.Request {
	if stored == nil || !hasValidator(stored.Header) {
		return request
	}
	with := request.Clone(request.Context())
	if tag := stored.Header.Get("Etag"); tag != "" {
		with.Header.Set("If-None-Match", tag)
	}
	if modified := stored.Header.Get("Last-Modified"); modified != "" {
		with.Header.Set("If-Modified-Since", modified)
	}
	return with
}

// failed reports whether there is no answer, or one that RFC 5861, 4 counts as
// none.
func failed(response *http.Response, err error) bool {
	if err != nil {
		return true
	}
	switch response.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// discard ends a response that is not used.
func discard(response *http.Response) {
	if response != nil {
		_ = response.Body.Close()
	}
}

func weak(tag string) string {
	if len(tag) > 2 && tag[:2] == "W/" {
		return tag[2:]
	}
	return tag
}

// sameBody reports whether the answer to a HEAD is about what is stored.
func sameBody(stored *entry, head *http.Response) bool {
	for _, name := range [...]string{"Etag", "Last-Modified", "Content-Length"} {
		if value := head.Header.Get(name); value != "" && value != stored.Header.Get(name) {
			return false
		}
	}
	return true
}

// refresh revalidates stored for the next caller, unless that is under way.
func (c *Cache) refresh(stored *entry, request *http.Request, asked *call.Call) {
	id := stored.Key + "\n" + stored.Variant
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.refreshing[id] || len(c.refreshing) >= refreshes {
		return
	}
	c.refreshing[id] = true
	own := &call.Call{Profile: asked.Profile, Version: asked.Version, Idempotent: true, Retries: asked.Retries, MaxBody: c.largest}
	c.refreshers.Go(func() {
		c.revalidate(stored, request, own)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.refreshing, id)
	})
}

func (c *Cache) revalidate(stored *entry, request *http.Request, own *call.Call) {
	ctx, cancel := c.background()
	defer cancel()
	get := request.Clone(call.With(ctx, own))
	get.Method = http.MethodGet
	response, err := c.fetch(get, own, stored.Key, wish{now: c.now(), profile: own.Profile, maxAge: -1}, stored)
	if err != nil {
		return // the response is as stale as before; the next caller tries again
	}
	defer response.Body.Close() //nolint:errcheck // what has been read is complete or not kept
	_, _ = io.CopyN(io.Discard, response.Body, c.largest+1)
}

// pass sends a request that no stored response answers.
func (c *Cache) pass(request *http.Request, profile string) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err == nil && !safe(request.Method) && response.StatusCode >= 200 && response.StatusCode < 400 {
		c.invalidate(request, response, profile)
	}
	return response, err
}

func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// invalidate forgets what an unsafe request has changed (RFC 9111, 4.4): what
// is at its URL and, on the same host, at those that its response names.
func (c *Cache) invalidate(request *http.Request, response *http.Response, profile string) {
	c.forget(c.keyOf(request, profile))
	for _, name := range [...]string{"Location", "Content-Location"} {
		target, err := request.URL.Parse(response.Header.Get(name))
		if err != nil || target.Scheme != request.URL.Scheme || target.Host != request.URL.Host || response.Header.Get(name) == "" {
			continue
		}
		named := *request
		named.URL = target
		c.forget(c.keyOf(&named, profile))
	}
}

func (c *Cache) forget(key string) {
	c.mu.Lock()
	c.fills.spoil(key)
	c.mu.Unlock()
	c.memory.forget(key)
	if c.disk != nil {
		c.disk.forget(key)
	}
	c.metrics.measure(c)
}

// Close ends what runs in the background and waits for it. What is on disk stays.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.refreshers.Wait()
	if c.disk == nil {
		return nil
	}
	return c.disk.close()
}
