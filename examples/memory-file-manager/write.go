package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// WriteFile makes a file, or replaces its content.
func (m *manager) WriteFile(_ context.Context, r *filev1.WriteFileRequest) (*filev1.WriteFileResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	content, err := p.decoded(r.GetContent(), r.GetOptions().GetEncoding(), m.maxContent)
	if err != nil {
		return nil, err
	}
	entry, created, err := p.write(content, r.GetOptions())
	return &filev1.WriteFileResponse{Entry: entry, Created: created}, err
}

// Write is WriteFile for content of any size that there is room for.
func (m *manager) Write(stream grpc.ClientStreamingServer[filev1.WriteRequest, filev1.WriteResponse]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return status.Error(codes.InvalidArgument, "the stream has no message; the first one has root and path")
	}
	if err != nil {
		return err
	}
	p, err := m.find(first.GetRoot(), first.GetPath())
	if err != nil {
		return err
	}
	content, err := p.receive(first, stream)
	if err != nil {
		return err
	}
	content, err = p.decoded(content, first.GetOptions().GetEncoding(), p.quota)
	if err != nil {
		return err
	}
	entry, created, err := p.write(content, first.GetOptions())
	if err != nil {
		return err
	}
	return stream.SendAndClose(&filev1.WriteResponse{Entry: entry, Created: created})
}

// receive collects the content of a stream. What has come counts for the quota as if
// it was there already, so that many streams cannot fill memory.
func (p place) receive(first *filev1.WriteRequest, stream grpc.ClientStreamingServer[filev1.WriteRequest, filev1.WriteResponse]) (content []byte, err error) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reserved -= int64(len(content))
	}()
	for message := first; ; {
		if err := p.reserve(len(content), len(message.GetContent())); err != nil {
			return content, err
		}
		content = append(content, message.GetContent()...)
		if message, err = stream.Recv(); errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return content, err
		}
		if message.GetRoot() != "" || message.GetPath() != "" || message.GetOptions() != nil {
			return content, status.Error(codes.InvalidArgument, "root, path and options are in the first message, and only there")
		}
	}
}

func (p place) reserve(have, more int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.room(int64(have+more), int64(more)); err != nil {
		return err
	}
	p.reserved += int64(more)
	return nil
}

// Append writes at the end of a file.
func (m *manager) Append(_ context.Context, r *filev1.AppendRequest) (*filev1.AppendResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	if _, err := p.decoded(r.GetContent(), 0, m.maxContent); err != nil {
		return nil, err
	}
	response := &filev1.AppendResponse{}
	err = p.change(r.GetLock(), func(tree *node) (*node, error) {
		tree, old, err := p.target(tree, r.GetMakeParents())
		if err != nil {
			return nil, err
		}
		var before []byte
		if old != nil {
			before = old.content
		}
		if r.IfSize != nil && r.GetIfSize() != uint64(len(before)) {
			return nil, p.fail(codes.Aborted, "the file has %d bytes, if_size wants %d", len(before), r.GetIfSize())
		}
		if err := p.room(int64(len(before)+len(r.GetContent())), int64(len(r.GetContent()))); err != nil {
			return nil, err
		}
		n := newFile(bytes.Join([][]byte{before, r.GetContent()}, nil), modeOf(0, old), time.Now())
		response.Entry, response.Offset = n.entry(p.path), uint64(len(before))
		return tree.with(p.path, n), nil
	})
	return response, err
}

// Edit replaces pieces of a text file, all of them or none.
func (m *manager) Edit(_ context.Context, r *filev1.EditRequest) (*filev1.EditResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	response := &filev1.EditResponse{}
	err = p.change(r.GetOptions().GetLock(), func(tree *node) (*node, error) {
		old, err := p.file()
		if err == nil {
			err = p.matches(old, r.GetOptions().GetIfMatch())
		}
		if err != nil {
			return nil, err
		}
		text, replaced, err := p.replace(string(old.content), r.GetReplacements())
		if err == nil {
			_, err = p.decoded([]byte(text), 0, m.maxContent)
		}
		if err == nil {
			err = p.room(int64(len(text)), int64(len(text))-old.size)
		}
		if err != nil {
			return nil, err
		}
		n := newFile([]byte(text), modeOf(r.GetOptions().GetMode(), old), time.Now())
		response.Entry, response.Replaced = n.entry(p.path), replaced
		return tree.with(p.path, n), nil
	})
	return response, err
}

func (p place) replace(text string, replacements []*filev1.Replacement) (string, uint32, error) {
	total := 0
	for i, r := range replacements {
		found := strings.Count(text, r.GetOld())
		switch {
		case r.GetOld() == "":
			return "", 0, status.Errorf(codes.InvalidArgument, "replacements[%d].old is empty", i)
		case found == 0:
			return "", 0, p.fail(codes.FailedPrecondition, "replacements[%d].old is not in the file", i)
		case found > 1 && !r.GetAll():
			return "", 0, p.fail(codes.FailedPrecondition, "replacements[%d].old is in the file %d times; give more of the text, or set all", i, found)
		}
		text = strings.ReplaceAll(text, r.GetOld(), r.GetNew())
		total += found
	}
	return text, uint32(total), nil
}

// write puts a file in its place.
func (p place) write(content []byte, o *filev1.WriteOptions) (entry *filev1.Entry, created bool, err error) {
	if err := p.checkOptions(content, o); err != nil {
		return nil, false, err
	}
	err = p.change(o.GetLock(), func(tree *node) (*node, error) {
		tree, old, err := p.target(tree, o.GetMakeParents())
		if err == nil {
			err = p.judge(old, o)
		}
		if err != nil {
			return nil, err
		}
		more := int64(len(content))
		if old != nil {
			more -= old.size
		}
		if err := p.room(int64(len(content)), more); err != nil {
			return nil, err
		}
		n := newFile(content, modeOf(o.GetMode(), old), time.Now())
		entry, created = n.entry(p.path), old == nil
		return tree.with(p.path, n), nil
	})
	return entry, created, err
}

func (p place) checkOptions(content []byte, o *filev1.WriteOptions) error {
	switch {
	case o.GetIfMatch() != "" && o.GetCreateOnly():
		return status.Error(codes.InvalidArgument, "options.if_match wants a file and options.create_only wants none; set one of them")
	case o.GetMode() > 0o777:
		return status.Errorf(codes.InvalidArgument, "options.mode is %#o; permission bits are at most 0o777", o.GetMode())
	case len(o.GetSha256()) == 0:
		return nil
	case len(o.GetSha256()) != sha256.Size:
		return status.Errorf(codes.InvalidArgument, "options.sha256 has %d bytes, a SHA-256 has %d", len(o.GetSha256()), sha256.Size)
	}
	if got := sha256.Sum256(content); !bytes.Equal(got[:], o.GetSha256()) {
		return p.fail(codes.DataLoss, "the content has sha256 %x, options.sha256 is %x", got, o.GetSha256())
	}
	return nil
}

// judge says whether a write may take the place of what is there; nil is nothing.
func (p place) judge(old *node, o *filev1.WriteOptions) error {
	switch {
	case old == nil && o.GetIfMatch() != "":
		return p.fail(codes.Aborted, "there is no file, if_match wants one with the etag %.100q", o.GetIfMatch())
	case old != nil && o.GetCreateOnly():
		return p.fail(codes.AlreadyExists, "the file exists, and create_only is set")
	case old != nil:
		return p.matches(old, o.GetIfMatch())
	}
	return nil
}

// matches is the error if what is there has not the etag that is wanted.
func (p place) matches(n *node, want string) error {
	if want == "" || want == "*" || want == n.etag {
		return nil
	}
	return p.fail(codes.Aborted, "the file has the etag %q, if_match wants %.100q: somebody has changed it; read it again", n.etag, want)
}

// target returns the tree with the directory that a file is to be in, and the file
// that is there, or nil.
func (p place) target(tree *node, makeParents bool) (*node, *node, error) {
	old := tree.at(p.path)
	if old != nil && old.dir != nil {
		return nil, nil, p.fail(codes.FailedPrecondition, "is a directory, want a file")
	}
	tree, err := p.parents(tree, makeParents)
	return tree, old, err
}

// parents returns the tree with the directory that the place is in.
func (p place) parents(tree *node, makeThem bool) (*node, error) {
	dir := path.Dir(p.path)
	switch n := tree.at(dir); {
	case n != nil && n.dir != nil:
		return tree, nil
	case n != nil:
		return nil, p.fail(codes.FailedPrecondition, "%.100q is a file, want a directory", dir)
	case !makeThem:
		return nil, p.fail(codes.NotFound, "the directory %.100q does not exist; make_parents makes it", dir)
	}
	tree, err := place{p.root, dir}.parents(tree, true)
	if err != nil {
		return nil, err
	}
	return tree.with(dir, newDir(0o755, time.Now())), nil
}

// modeOf is the mode that was asked for, that of the file replaced, or rw-r--r--.
func modeOf(asked uint32, old *node) uint32 {
	if old == nil {
		return cmp.Or(asked, 0o644)
	}
	return cmp.Or(asked, old.mode)
}

// decoded undoes the encoding of content, of which there may be so much.
func (p place) decoded(content []byte, encoding filev1.Encoding, most int64) ([]byte, error) {
	switch encoding {
	case filev1.Encoding_ENCODING_UNSPECIFIED:
	case filev1.Encoding_GZIP:
		r, err := gzip.NewReader(bytes.NewReader(content))
		if err == nil {
			content, err = io.ReadAll(io.LimitReader(r, most+1))
		}
		if err != nil {
			return nil, p.fail(codes.InvalidArgument, "the content is not gzip: %v", err)
		}
	default:
		return nil, status.Errorf(codes.Unimplemented, "this file manager knows GZIP, and not %v", encoding)
	}
	if int64(len(content)) > most {
		return nil, p.fail(codes.ResourceExhausted, "more than %d bytes (max_content, or quota); stream larger content with Write", most)
	}
	return content, nil
}
