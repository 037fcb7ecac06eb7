package cache

import (
	"io"
	"net/http"
	"slices"
)

// fills are the responses on their way into the cache, by key, so that what
// began before an invalidation is not kept after it.
type fills map[string]map[*fill]bool

// spoil makes the fills of a key come to nothing.
func (f fills) spoil(key string) {
	for fill := range f[key] {
		fill.spoilt = true
	}
}

// fill is one response on its way into the cache. It ends with drop or finish;
// what comes after the first end has no effect.
type fill struct {
	cache  *Cache
	key    string
	spoilt bool // guarded by Cache.mu
	entry  *entry
}

// fill begins before the request is sent.
func (c *Cache) fill(key string) *fill {
	f := &fill{cache: c, key: key}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fills[key] == nil {
		c.fills[key] = map[*fill]bool{}
	}
	c.fills[key][f] = true
	return f
}

// keep ends the fill and stores e. It is taken back if the key was forgotten
// meanwhile: to look first would leave a moment between the look and the store.
func (f *fill) keep(e *entry) {
	f.cache.put(e)
	if !f.finish() {
		f.cache.remove(e)
	}
}

// drop ends the fill without anything to keep.
func (f *fill) drop() { f.finish() }

// finish ends the fill and reports whether its response may be kept.
func (f *fill) finish() bool {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fills[f.key][f] {
		return false
	}
	delete(c.fills[f.key], f)
	if len(c.fills[f.key]) == 0 {
		delete(c.fills, f.key)
	}
	return !f.spoilt
}

// around returns response's body; what is read from it is kept, once it has
// been read to its end.
func (f *fill) around(response *http.Response) io.ReadCloser {
	c := &copied{ReadCloser: response.Body, fill: f, response: response, want: response.ContentLength}
	if c.want == 0 {
		c.keep() // nobody reads a body that is not there
	}
	return c
}

// copied is a response's body, copied while it is read. It is read by one goroutine.
type copied struct {
	io.ReadCloser

	fill     *fill
	response *http.Response
	want     int64  // bytes, -1 if unknown
	kept     []byte // nil once the fill has ended
	reserved int64  // bytes of kept's capacity
}

func (b *copied) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.fill == nil {
		return n, err
	}
	whole := err == io.EOF // bare: a wrapped one is not the end of a body
	if err != nil && !whole || !b.take(p[:n]) {
		b.end(nil)
	} else if whole {
		b.keep()
	}
	return n, err
}

// take copies a piece and reports whether there was room for it.
func (b *copied) take(piece []byte) bool {
	c := b.fill.cache
	need := len(b.kept) + len(piece)
	if int64(need) > c.largest {
		return false
	}
	if need > cap(b.kept) {
		room := min(max(int64(need), 2*int64(cap(b.kept))), c.largest)
		if !b.reserve(room) {
			return false
		}
		grown := make([]byte, len(b.kept), room)
		copy(grown, b.kept)
		b.kept = grown
	}
	b.kept = append(b.kept, piece...)
	return true
}

// reserve counts the buffer's bytes, which all fills have a common bound for.
func (b *copied) reserve(room int64) bool {
	c := b.fill.cache
	more := room - b.reserved
	if c.filling.Add(more) > c.fillRoom {
		c.filling.Add(-more)
		return false
	}
	b.reserved = room
	return true
}

// keep stores the response, which is whole unless its length says otherwise.
func (b *copied) keep() {
	if b.want >= 0 && b.want != int64(len(b.kept)) {
		b.end(nil)
		return
	}
	e := b.fill.entry
	e.Body, e.Trailer = slices.Clip(b.kept), b.response.Trailer.Clone()
	b.end(e)
}

// end ends the fill, and stores e if there is one.
func (b *copied) end(e *entry) {
	f := b.fill
	if f == nil {
		return
	}
	b.fill = nil
	if e != nil {
		f.keep(e)
	} else {
		f.drop()
	}
	b.kept = nil
	f.cache.filling.Add(-b.reserved)
}

// Close closes the body; one that was not read to its end is not kept.
func (b *copied) Close() error {
	b.end(nil)
	return b.ReadCloser.Close()
}
