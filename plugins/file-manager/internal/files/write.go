package files

import (
	"bytes"
	"context"
	"errors"
	"io"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// WriteFile makes a file, or replaces its content.
func (m *Manager) WriteFile(ctx context.Context, request *filev1.WriteFileRequest) (*filev1.WriteFileResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if size, limit := int64(len(request.GetContent())), m.contentLimit(); size > limit {
		return nil, t.failf(codes.ResourceExhausted, request.GetPath(), "content of %d bytes, limit %d (max_content); use Write", size, limit)
	}
	entry, created, err := t.write(ctx, request.GetPath(), request.GetOptions(), func(d *draft) error {
		encoding := request.GetOptions().GetEncoding()
		if encoding == filev1.Encoding_ENCODING_UNSPECIFIED {
			_, err := d.Write(request.GetContent())
			return err
		}
		return m.decode(d, bytes.NewReader(request.GetContent()), encoding, m.contentLimit())
	})
	if err != nil {
		return nil, err
	}
	return &filev1.WriteFileResponse{Entry: entry, Created: created}, nil
}

// Write is WriteFile for content of any size. It holds one message, and one chunk
// if the content is encoded.
func (m *Manager) Write(stream grpc.ClientStreamingServer[filev1.WriteRequest, filev1.WriteResponse]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return status.Error(codes.InvalidArgument, "the stream ended without a message; the first has root, path and options")
	}
	if err != nil {
		return err
	}
	t, err := m.enterToChange(stream.Context(), first.GetRoot())
	if err != nil {
		return err
	}
	defer t.leave()
	m.metrics.streams.Inc()
	defer m.metrics.streams.Dec()
	body := &received{stream: stream, content: first.GetContent()}
	entry, created, err := t.write(stream.Context(), first.GetPath(), first.GetOptions(), func(d *draft) error {
		encoding := first.GetOptions().GetEncoding()
		if encoding == filev1.Encoding_ENCODING_UNSPECIFIED {
			return body.writeTo(d)
		}
		return m.decode(d, body, encoding, 0)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&filev1.WriteResponse{Entry: entry, Created: created})
}

// write makes a draft, lets it be filled, and puts it in place.
func (t *tree) write(ctx context.Context, path string, options *filev1.WriteOptions, fill func(*draft) error) (*filev1.Entry, bool, error) {
	if err := checkEncoding(options.GetEncoding()); err != nil {
		return nil, false, err
	}
	c, err := t.conditionsOf(options)
	if err != nil {
		return nil, false, err
	}
	d, err := t.newDraft(path, c)
	if err != nil {
		return nil, false, err
	}
	defer d.discard()
	if err := fill(d); err != nil {
		return nil, false, t.explain(path, err)
	}
	return d.commit(ctx)
}

// decode writes what r has encoded. A limit, unless it is 0, bounds the decoded
// bytes, of which a sender can make a thousand times what it sends; the bounds of
// the root do so in any case.
func (m *Manager) decode(d *draft, r io.Reader, encoding filev1.Encoding, limit int64) error {
	content, err := decoder(r, encoding)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // it was only read
	buf := m.chunks.get()
	defer m.chunks.pool.Put(buf)
	for {
		n, err := content.Read(*buf)
		if limit > 0 && d.size+int64(n) > limit {
			return status.Errorf(codes.ResourceExhausted, "the content is more than %d bytes when it is decoded (max_content); use Write", limit)
		}
		if _, writeErr := d.Write((*buf)[:n]); writeErr != nil {
			return writeErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badEncoding(encoding, err)
		}
	}
}

// received is the content of the messages of a stream, one after the other.
type received struct {
	stream  grpc.ClientStreamingServer[filev1.WriteRequest, filev1.WriteResponse]
	content []byte // of the message in hand
}

// writeTo writes the messages as they come.
func (r *received) writeTo(w io.Writer) error {
	for {
		if _, err := w.Write(r.content); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return ignore(err, io.EOF)
		}
	}
}

// Read copies from the message in hand, or the next one that has content.
func (r *received) Read(p []byte) (int, error) {
	for len(r.content) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.content)
	r.content = r.content[n:]
	return n, nil
}

func (r *received) next() error {
	request, err := r.stream.Recv()
	if err != nil {
		return err // io.EOF at the end
	}
	if request.GetRoot() != "" || request.GetPath() != "" || request.GetOptions() != nil {
		return status.Error(codes.InvalidArgument, "root, path and options belong in the first message of the stream only")
	}
	r.content = request.GetContent()
	return nil
}
