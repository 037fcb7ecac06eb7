package gateway

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestNoBufferIsLostOrFreedTwice sends payloads around the sizes at which gRPC
// begins to pool, split and chain buffers. A buffer freed twice makes gRPC
// panic or hands it to two calls at once, which garbles a payload; one that is
// not freed stays counted.
func TestNoBufferIsLostOrFreedTwice(t *testing.T) { overEach(t, noBufferIsLostOrFreedTwice) }

func noBufferIsLostOrFreedTwice(t trial) {
	callers, instances := newCountingPool(), newCountingPool()
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{}, instances.dialOption()))}
	h := startHost(t, Options{serverOptions: []grpc.ServerOption{callers.serverOption()}}, sub)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for _, size := range []int{0, 1, 1 << 10, 1<<10 + 1, 16 << 10, 32<<10 - 7, 64 << 10, 1 << 20} {
				if size == 1<<20 && worker > 1 {
					continue // takes long under the race detector
				}
				payload := make([]byte, size)
				for i := range payload {
					payload[i] = byte(random.Uint32())
				}
				var options []grpc.CallOption
				if worker%2 == 0 && size <= 64<<10 { // compressing is slow
					options = append(options, grpc.UseCompressor("gzip"))
				}
				for range 3 {
					got, err := h.call(t.Context(), payload, options...)
					if err != nil || !bytes.Equal(got, payload) {
						t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
						return
					}
				}
				h.checkStream(worker, payload, options)
			}
		})
	}
	wg.Wait()
	if strings.Contains(h.log.String(), "panic") {
		t.Errorf("log: %s", h.log)
	}
	eventually(t, "all buffers are given back", func() bool { return callers.out.Load() == 0 && instances.out.Load() == 0 })
	if callers.out.Load() != 0 || instances.out.Load() != 0 {
		t.Errorf("%d buffers of callers and %d of instances are lost", callers.out.Load(), instances.out.Load())
	}
}

// checkStream echoes a payload three times over a stream.
func (h *host) checkStream(worker int, payload []byte, options []grpc.CallOption) {
	s, err := h.NewStream(h.tb.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, bothMethod, options...)
	if err != nil {
		h.tb.Error(err)
		return
	}
	for range 3 {
		if err := s.SendMsg(wrapperspb.Bytes(payload)); err != nil {
			h.tb.Error(err)
			return
		}
		if got, err := receive(s); err != nil || got != string(payload) {
			h.tb.Errorf("worker %d: %d bytes of %d came back, %v", worker, len(got), len(payload), err)
			return
		}
	}
	if err := s.CloseSend(); err != nil {
		h.tb.Error(err)
	}
	if _, err := receive(s); err == nil {
		h.tb.Error("a message too many")
	}
}

// countingPool counts the buffers that were taken and not given back.
type countingPool struct {
	mem.BufferPool

	out atomic.Int64
}

func newCountingPool() *countingPool { return &countingPool{BufferPool: mem.DefaultBufferPool()} }

func (p *countingPool) Get(length int) *[]byte {
	p.out.Add(1)
	return p.BufferPool.Get(length)
}

func (p *countingPool) Put(b *[]byte) {
	p.out.Add(-1)
	p.BufferPool.Put(b)
}

func (p *countingPool) dialOption() grpc.DialOption     { return experimental.WithBufferPool(p) }
func (p *countingPool) serverOption() grpc.ServerOption { return experimental.BufferPool(p) }
