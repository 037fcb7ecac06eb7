package link_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// rawCodec sends []byte and fills *[]byte as they are: a proxy's codec.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// brokenCodec fails in one direction.
type brokenCodec struct {
	rawCodec
	encode, decode bool
}

func (c brokenCodec) Marshal(v any) (mem.BufferSlice, error) {
	if c.encode {
		return nil, errors.New("cannot be encoded")
	}
	return c.rawCodec.Marshal(v)
}

func (c brokenCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if c.decode {
		return errors.New("cannot be decoded")
	}
	return c.rawCodec.Unmarshal(data, v)
}

// oldCodec is of gRPC's first kind.
type oldCodec struct{}

func (oldCodec) Name() string                  { return "proto" }
func (oldCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

func (oldCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// envelope is value as a BytesValue on the wire.
func envelope(value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), value)
}

func TestACallersCodecDecidesWhatItsBytesAre(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		for name, option := range map[string]grpc.CallOption{
			"ForceCodecV2": grpc.ForceCodecV2(rawCodec{}),
			"ForceCodec":   grpc.ForceCodec(oldCodec{}),
		} {
			for _, want := range [][]byte{envelope([]byte("a")), nil, envelope(noise(60_000))} {
				var got []byte
				err := conn.Invoke(patiently(t), methodEcho, want, &got, option)
				if name == "ForceCodec" && t.refuses != nil && t.refuses(err) {
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s: got %d bytes, want the same %d", name, len(got), len(want))
				}
			}
		}
	})
}

func TestACodecThatFailsFailsItsCallOnly(t *testing.T) {
	overAll(t, func(t arena) {
		var handled atomic.Int32
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			handled.Add(1)
			return req, nil
		})
		var answer []byte
		err := conn.Invoke(patiently(t), methodEcho, envelope(nil), &answer, grpc.ForceCodecV2(brokenCodec{encode: true}))
		wantCode(t, err, codes.Internal)
		if n := handled.Load(); n != 0 {
			t.Error("the handler was called for a request that could not be encoded")
		}
		err = conn.Invoke(patiently(t), methodEcho, envelope(nil), &answer, grpc.ForceCodecV2(brokenCodec{decode: true}))
		wantCode(t, err, codes.Internal)
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

// keepingCodec keeps the buffers of answers instead of copying them.
type keepingCodec struct{ rawCodec }

func (keepingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

func TestACodecMayKeepTheBuffersOfAnAnswer(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		const calls = 300
		var kept [calls]mem.BufferSlice
		var callers sync.WaitGroup
		for worker := range 3 {
			callers.Go(func() {
				for i := worker; i < calls; i += 3 {
					req := envelope(noise(1 + i*100))
					if err := conn.Invoke(patiently(t), methodEcho, req, &kept[i], grpc.ForceCodecV2(keepingCodec{})); err != nil {
						t.Errorf("call %d: %v", i, err)
					}
				}
			})
		}
		callers.Wait()
		for i := range kept {
			if !bytes.Equal(kept[i].Materialize(), envelope(noise(1+i*100))) {
				t.Errorf("answer %d has changed while it was kept", i)
			}
			kept[i].Free()
		}
	})
}

// countingPool counts how often each buffer came back.
type countingPool struct {
	mu       sync.Mutex
	returned map[*[]byte]int
}

func (*countingPool) Get(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

// Put spoils the buffer, as its next user would.
func (p *countingPool) Put(b *[]byte) {
	clear(*b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned[b]++
}

// count returns how many buffers came back, and how many more than once.
func (p *countingPool) count() (all, twice int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, times := range p.returned {
		if times > 1 {
			twice++
		}
	}
	return len(p.returned), twice
}

// pooledCodec sends from buffers of a pool.
type pooledCodec struct {
	rawCodec
	pool *countingPool
}

func (c pooledCodec) Marshal(v any) (mem.BufferSlice, error) {
	req := v.([]byte)
	b := c.pool.Get(len(req))
	copy(*b, req)
	return mem.BufferSlice{mem.NewBuffer(b, c.pool)}, nil
}

func TestTheBufferOfARequestIsGivenBackOnce(t *testing.T) {
	overAll(t, func(t arena) {
		want := noise(4000) // small ones are not pooled
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			if !bytes.Equal(req, want) {
				t.Error("the handler got other bytes")
			}
			return req, context.Cause(ctx)
		})
		pool := &countingPool{returned: make(map[*[]byte]int)}
		option := grpc.ForceCodecV2(pooledCodec{pool: pool})
		const calls = 400
		var answered atomic.Int64
		var callers sync.WaitGroup
		for worker := range 4 {
			callers.Go(func() {
				for i := range calls / 4 {
					ctx, cancel := context.WithCancel(patiently(t))
					if i%4 == worker {
						go cancel() // somewhere on the way
					}
					var got []byte
					if err := conn.Invoke(ctx, methodEcho, envelope(want), &got, option); err != nil {
						wantCode(t, err, codes.Canceled)
					} else {
						answered.Add(1)
					}
					cancel()
				}
			})
		}
		callers.Wait()
		// gRPC leaves a few that were on their way when the caller left to the
		// garbage collector.
		proctest.Soon(func() bool {
			all, _ := pool.count()
			return all >= int(answered.Load())
		})
		if all, twice := pool.count(); all < int(answered.Load()) || twice != 0 {
			t.Errorf("got %d buffers back, %d of them more than once, want those of %d answered calls once", all, twice, answered.Load())
		}
		if err := conn.Invoke(patiently(t), methodEcho, wrapperspb.Bytes(want), new(wrapperspb.BytesValue)); err != nil {
			t.Error(err)
		}
	})
}
