package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// chunk is how many bytes of a stream a message has at most.
const chunk = 1 << 20

// Stat says what is at a path.
func (m *manager) Stat(_ context.Context, r *filev1.StatRequest) (*filev1.StatResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	n, err := p.look()
	if err != nil {
		return nil, err
	}
	return &filev1.StatResponse{Entry: n.entry(p.path)}, nil
}

// List lists a directory, or a tree, a page at a time.
func (m *manager) List(_ context.Context, r *filev1.ListRequest) (*filev1.ListResponse, error) {
	depth, size := int(max(r.GetDepth(), 1)), int(r.GetPageSize())
	if size == 0 {
		size = 1000
	}
	if depth > 64 || size > 10000 {
		return nil, status.Errorf(codes.InvalidArgument, "depth is %d, at most 64, and page_size %d, at most 10000", depth, size)
	}
	after, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "page_token is not one that List has returned")
	}
	pattern, err := compileGlobs(r.GetGlob())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "glob: %v", err)
	}
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	dir, err := p.directory()
	if err != nil {
		return nil, err
	}
	response := &filev1.ListResponse{}
	dir.walk(p.path, func(path string, n *node) bool {
		seen := relative(p.path, path)
		if response.NextPageToken != "" || p.denies(path) {
			return false
		}
		if inOrder(seen) > inOrder(string(after)) && pattern.match(seen) {
			if len(response.Entries) == size {
				last := response.Entries[size-1].GetPath()
				response.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(relative(p.path, last)))
				return false
			}
			response.Entries = append(response.Entries, n.entry(path))
		}
		return strings.Count(seen, "/")+1 < depth
	})
	return response, nil
}

// inOrder is a path as a text whose order is that of paths: part by part.
func inOrder(path string) string { return strings.ReplaceAll(path, "/", "\x00") }

// ReadFile returns the content of a file, or a piece of it.
func (m *manager) ReadFile(_ context.Context, r *filev1.ReadFileRequest) (*filev1.ReadFileResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	n, err := p.file()
	if err != nil {
		return nil, err
	}
	response := &filev1.ReadFileResponse{Entry: n.entry(p.path)}
	if r.GetIfNoneMatch() != "" && r.GetIfNoneMatch() == n.etag {
		response.NotModified = true
		return response, nil
	}
	content := piece(n.content, r.GetOffset(), r.GetLength())
	if int64(len(content)) > m.maxContent {
		return nil, p.fail(codes.ResourceExhausted, "%d bytes, max_content is %d; use Read, or length", len(content), m.maxContent)
	}
	response.Content, err = encoded(content, r.GetEncoding())
	return response, err
}

// Read streams the content of a file.
func (m *manager) Read(r *filev1.ReadRequest, stream grpc.ServerStreamingServer[filev1.ReadResponse]) error {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return err
	}
	n, err := p.file()
	if err != nil {
		return err
	}
	content, err := encoded(piece(n.content, r.GetOffset(), r.GetLength()), r.GetEncoding())
	if err != nil {
		return err
	}
	response := &filev1.ReadResponse{Entry: n.entry(p.path)}
	for {
		response.Content = content[:min(chunk, len(content))]
		if err := stream.Send(response); err != nil {
			return err
		}
		if content = content[len(response.Content):]; len(content) == 0 {
			return nil
		}
		response = &filev1.ReadResponse{}
	}
}

// Hash returns the digest of a file's content.
func (m *manager) Hash(_ context.Context, r *filev1.HashRequest) (*filev1.HashResponse, error) {
	if a := r.GetAlgorithm(); a != filev1.Algorithm_ALGORITHM_UNSPECIFIED && a != filev1.Algorithm_SHA256 {
		return nil, status.Errorf(codes.Unimplemented, "this file manager knows SHA256, and not %v", a)
	}
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	n, err := p.file()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(n.content)
	return &filev1.HashResponse{Digest: hex.EncodeToString(sum[:]), Entry: n.entry(p.path)}, nil
}

// piece is the bytes from an offset on, from the end if it is negative.
func piece(content []byte, offset int64, length uint64) []byte {
	size := int64(len(content))
	if offset < 0 {
		offset = max(0, size+offset)
	}
	content = content[min(offset, size):]
	if length > 0 && length < uint64(len(content)) {
		content = content[:length]
	}
	return content
}

func encoded(content []byte, encoding filev1.Encoding) ([]byte, error) {
	if encoding == filev1.Encoding_ENCODING_UNSPECIFIED {
		return content, nil
	}
	if encoding != filev1.Encoding_GZIP {
		return nil, status.Errorf(codes.Unimplemented, "this file manager knows GZIP, and not %v", encoding)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content) // to memory
	err := w.Close()
	return b.Bytes(), err
}
