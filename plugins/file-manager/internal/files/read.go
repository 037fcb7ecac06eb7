package files

import (
	"context"
	"errors"
	"io"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// chunk is how much content a message of a stream has, in bytes. Larger ones gain
// nothing; a quarter of it costs a third of the speed.
const chunk = 1 << 20

// ReadFile returns the content of a small file, or a piece of a large one. The
// entry is from before the content was read: if somebody changes the file
// meanwhile, its etag is that of neither, and a conditional write fails.
func (m *Manager) ReadFile(ctx context.Context, request *filev1.ReadFileRequest) (*filev1.ReadFileResponse, error) {
	t, err := m.enter(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if err := checkEncoding(request.GetEncoding()); err != nil {
		return nil, err
	}
	found, err := t.findFile(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	response := &filev1.ReadFileResponse{Entry: entryOf(found.Path, found.Info)}
	if etag := request.GetIfNoneMatch(); etag != "" && etag == response.GetEntry().GetEtag() {
		response.NotModified = true
		return response, nil
	}
	offset, length := piece(request.GetOffset(), request.GetLength(), found.Info.Size)
	if limit := m.contentLimit(); length > limit {
		return nil, t.failf(codes.ResourceExhausted, request.GetPath(),
			"%d bytes to read, limit %d (max_content); use Read, or a smaller length", length, limit)
	}
	if response.Content, err = readPiece(found, offset, length); err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	m.metrics.read.Add(float64(len(response.GetContent())))
	if request.GetEncoding() != filev1.Encoding_ENCODING_UNSPECIFIED {
		response.Content, err = m.encoders.encode(response.GetContent(), request.GetEncoding())
	}
	return response, err
}

// piece is where a read begins and how long it is: within a file of this size.
func piece(offset int64, length uint64, size int64) (from, n int64) {
	if offset < 0 {
		offset = max(size+offset, 0)
	}
	offset = min(offset, size)
	n = size - offset
	if length > 0 && length < uint64(n) { //nolint:gosec // not negative
		n = int64(length) //nolint:gosec // less than n
	}
	return offset, n
}

func readPiece(found jail.Found, offset, length int64) ([]byte, error) {
	fd, err := found.Open()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // what was only read loses nothing
	content := make([]byte, length)
	n, err := readAt(fd, content, offset)
	return content[:n], err
}

// readAt fills p, or reads to the end of the file. An *os.File would be one more
// allocation and a visit to the poller.
func readAt(fd int, p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(fd, p[done:], offset+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, nil
		}
		done += n
	}
	return done, nil
}

// Read streams the content of a file. It holds one chunk.
func (m *Manager) Read(request *filev1.ReadRequest, stream grpc.ServerStreamingServer[filev1.ReadResponse]) error {
	t, err := m.enter(stream.Context(), request.GetRoot())
	if err != nil {
		return err
	}
	defer t.leave()
	if err := checkEncoding(request.GetEncoding()); err != nil {
		return err
	}
	found, err := t.findFile(request.GetPath())
	if err != nil {
		return err
	}
	defer found.Close()
	fd, err := found.Open()
	if err != nil {
		return t.explain(request.GetPath(), err)
	}
	defer unix.Close(fd) //nolint:errcheck // what was only read loses nothing
	m.metrics.streams.Inc()
	defer m.metrics.streams.Dec()
	out := m.chunks.sender(stream, entryOf(found.Path, found.Info))
	defer m.chunks.giveBack(out)
	offset, length := piece(request.GetOffset(), request.GetLength(), found.Info.Size)
	content := &content{fd: fd, offset: offset, left: length, read: m.metrics.read.Add}
	if request.GetEncoding() == filev1.Encoding_ENCODING_UNSPECIFIED {
		_, err = out.ReadFrom(content)
	} else {
		err = m.encoders.copy(out, content, request.GetEncoding())
	}
	if err != nil {
		return t.explain(request.GetPath(), err)
	}
	return out.flush(true)
}

// copy compresses all of r into w.
func (e *encoders) copy(w io.Writer, r io.Reader, encoding filev1.Encoding) error {
	enc, giveBack, err := e.to(w, encoding)
	if err != nil {
		return err
	}
	defer giveBack()
	if _, err := io.Copy(enc, r); err != nil {
		return err
	}
	return enc.Close()
}

// content reads a piece of a file. If the file has become shorter, it says so: the
// caller was told another size.
type content struct {
	fd           int
	offset, left int64
	read         func(bytes float64)
}

// Read fills p as long as there is something.
func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := readAt(c.fd, p, c.offset)
	if err == nil && n < len(p) {
		err = status.Error(codes.Aborted, "the file has become shorter while it was read; try again")
	}
	c.offset += int64(n)
	c.left -= int64(n)
	c.read(float64(n))
	return n, err
}
