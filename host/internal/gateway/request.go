package gateway

import (
	"github.com/gaia-go/gaia/host/internal/registry"
)

// maxScratch is room for most keys that have to be made and not only found,
// such as the lower-case form of a host name, which has at most 253 bytes.
const maxScratch = 256

// request is the first message of a call, as far as policies ask about it.
type request struct {
	method  *registry.Method
	message []byte
	scratch [maxScratch]byte
	used    int // of scratch, by keys that were read before
}

// Key reads the value of a key of the request.
func (r *request) Key(name string) ([]byte, bool) {
	key := r.method.Key(name)
	if key == nil {
		return nil, false
	}
	value := key.Value(r.message, r.scratch[r.used:r.used])
	r.used = min(r.used+len(value), maxScratch) // though it may be part of the message
	return value, true
}

// Idempotent reports whether the call may be repeated.
func (r *request) Idempotent() bool { return r.method.Idempotent(r.message) }
