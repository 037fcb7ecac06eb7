package cache

import (
	"net/http"
	"sync"
)

// memory keeps entries in a bounded number of bytes.
type memory struct {
	mu      sync.Mutex
	entries *sieve[*entry]
}

func newMemory(limit int64) *memory {
	return &memory{entries: newSieve[*entry](limit)}
}

// find returns the newest entry that answers request, or nil.
func (m *memory) find(key string, request *http.Request) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var best *element[*entry]
	for _, e := range m.entries.keys[key] {
		if e.value.matches(request) && (best == nil || e.value.Received.After(best.value.Received)) {
			best = e
		}
	}
	if best == nil {
		return nil
	}
	best.used = true
	return best.value
}

func (m *memory) size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries.size
}

func (m *memory) put(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries.put(e.Key, e.Variant, e, e.size())
}

func (m *memory) remove(key, variant string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries.remove(key, variant)
}

// forget removes all variants.
func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.entries.keys[key]) > 0 {
		m.entries.drop(m.entries.keys[key][0])
	}
}
