package files

import (
	"bytes"
	"io"
	"sync"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxWindow bounds what a Zstandard stream may ask us to remember, in bytes: 8 MiB
// is what RFC 8878 recommends, and all that ordinary encoders use.
const maxWindow = 8 << 20

// encoders are kept for reuse: one takes some hundred KiB, and longer to make than
// to encode a small file.
type encoders struct {
	gzip, zstd sync.Pool
}

// encoder compresses what is written to it.
type encoder interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// to returns an encoder that writes to w, and what gives it back when it has been
// closed or is to be dropped.
func (e *encoders) to(w io.Writer, encoding filev1.Encoding) (enc encoder, giveBack func(), err error) {
	pool := &e.gzip
	if encoding == filev1.Encoding_ZSTD {
		pool = &e.zstd
	}
	enc, ok := pool.Get().(encoder)
	if !ok {
		if enc, err = newEncoder(encoding); err != nil {
			return nil, nil, err
		}
	}
	enc.Reset(w)
	return enc, func() {
		enc.Reset(io.Discard) // it forgets w
		pool.Put(enc)
	}, nil
}

func newEncoder(encoding filev1.Encoding) (encoder, error) {
	switch encoding {
	case filev1.Encoding_GZIP:
		return gzip.NewWriter(io.Discard), nil
	case filev1.Encoding_ZSTD:
		return zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	default:
		return nil, checkEncoding(encoding)
	}
}

// encode compresses content that is in memory.
func (e *encoders) encode(content []byte, encoding filev1.Encoding) ([]byte, error) {
	var out bytes.Buffer
	enc, giveBack, err := e.to(&out, encoding)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	if _, err := enc.Write(content); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decoder returns a reader of what r has compressed. The caller closes it.
func decoder(r io.Reader, encoding filev1.Encoding) (io.ReadCloser, error) {
	switch encoding {
	case filev1.Encoding_ENCODING_UNSPECIFIED:
		return io.NopCloser(r), nil
	case filev1.Encoding_GZIP:
		d, err := gzip.NewReader(r)
		return d, badEncoding(encoding, err)
	case filev1.Encoding_ZSTD:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, badEncoding(encoding, err)
		}
		return d.IOReadCloser(), nil
	}
	return nil, checkEncoding(encoding)
}

func checkEncoding(encoding filev1.Encoding) error {
	if _, known := filev1.Encoding_name[int32(encoding)]; known {
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "encoding %d is not known; use GZIP or ZSTD, or none", encoding)
}

// badEncoding is the error for content that is not what its encoding says. An
// error of the stream that brings it is left as it is.
func badEncoding(encoding filev1.Encoding, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.InvalidArgument, "content is not well-formed %v: %v", encoding, err)
}
