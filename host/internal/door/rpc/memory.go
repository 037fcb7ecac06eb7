package rpc

import (
	"compress/gzip"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/gateway"
)

// countedBody is a body of which a share holds what was read.
type countedBody struct {
	io.ReadCloser

	share *bodies.Share
}

// Read implements io.Reader.
func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if full := b.share.Add(n); full != nil {
		return 0, fault(full, protoregistry.GlobalTypes)
	}
	return n, err
}

// inflating makes handlers that take gzip. connect's own would read on, to tell
// how large a message is that is too large: minutes for what 64 MiB can unfold to.
func inflating(budget *bodies.Budget) connect.HandlerOption {
	return connect.WithCompression("gzip",
		func() connect.Decompressor { return &inflater{share: budget.Share()} },
		func() connect.Compressor { return gzip.NewWriter(io.Discard) })
}

// inflater unfolds one message at a time, within the budget. The message is
// counted anew when the call has it.
type inflater struct {
	gzip.Reader

	share *bodies.Share
	size  int
}

// Reset implements connect.Decompressor.
func (i *inflater) Reset(r io.Reader) error {
	i.share.Close()
	i.size = 0
	return i.Reader.Reset(r)
}

// Read implements io.Reader.
func (i *inflater) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if i.size += n; i.size > gateway.MaxMessage+1 {
		return 0, status.Error(codes.ResourceExhausted, "it unfolds to more")
	}
	if full := i.share.Add(n); full != nil {
		return 0, fault(full, protoregistry.GlobalTypes)
	}
	return n, err
}

// Close implements connect.Decompressor.
func (i *inflater) Close() error {
	i.share.Close()
	return i.Reader.Close()
}
