package page

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/dom"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxUpload bounds the files of one call.
	maxUpload = 16 << 20

	// maxUploads bounds those of a session: pages read them when they like, so
	// that they stay.
	maxUploads = 256 << 20

	// maxName is the longest name of a file in bytes, as file systems have it.
	maxName = 255
)

// uploadable says whether a file input takes so many files. Its accept is no rule:
// browsers let people choose others too.
const uploadable = `function(attempt, count) {
	const final = (Hindered) => ({ Hindered, Final: true })
	if (this.webkitdirectory) return final("it takes a directory, which cannot be uploaded")
	if (count > 1 && !this.multiple) return final("it takes one file, not " + count)
	if (this.matches(":disabled")) return { Hindered: "it is disabled" }
	return {}
}`

// Upload puts files into a file input, which may be hidden, or into that of a label,
// within an element, or near a button. The files are written below dir, where only
// this user can read them; they stay there for the page, which reads them when it
// likes, until the caller removes dir after the session.
func (t *Tab) Upload(ctx context.Context, request *browserv1.UploadRequest, dir string) error {
	ctx, cancel := limited(ctx, request.GetTarget().GetTimeout(), defaultReach)
	defer cancel()
	e, _, err := t.prepare(ctx, request.GetTarget(), wantFile, uploadable, len(request.GetFiles()))
	if err != nil {
		return err
	}
	defer e.release()
	paths, err := store(request.GetFiles(), dir)
	if err != nil {
		return err
	}
	_, err = devtools.Call(ctx, e.session, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: paths, ObjectID: e.object})
	return t.Fault(ctx, err, "the page to take the files")
}

// store writes files below dir, each in a directory of its own: names may be the
// same.
func store(files []*browserv1.File, dir string) (paths []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, status.Errorf(codes.Internal, "upload: %v", err)
	}
	used, err := sizeOf(dir)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "upload: %v", err)
	}
	for _, file := range files {
		used += int64(len(file.GetContent()))
	}
	if used > maxUploads {
		return nil, status.Errorf(codes.ResourceExhausted, "the session's uploads would have %d bytes, limit %d: begin another session", used, maxUploads)
	}
	place, err := os.MkdirTemp(dir, "")
	if err != nil {
		return nil, status.Errorf(codes.Internal, "upload: %v", err)
	}
	defer func() {
		if err != nil {
			err = status.Errorf(codes.Internal, "upload: %v", errors.Join(err, os.RemoveAll(place)))
		}
	}()
	for i, file := range files {
		own := filepath.Join(place, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, err
		}
		path := filepath.Join(own, file.GetName())
		if err := os.WriteFile(path, file.GetContent(), 0o600); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// sizeOf is how many bytes the files below a directory have.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
