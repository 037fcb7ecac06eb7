package files

import (
	"bytes"
	"context"
	"strings"
	"unicode/utf8"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// editTries is how often an edit is made anew because somebody else has changed
// the file meanwhile.
const editTries = 10

// Edit replaces pieces of a text file, all of them or none. Edits of a file come
// one after the other. Each reads and writes the file under its etag: if somebody
// else changes it in between, it begins anew, unless the caller has asked for a
// certain etag.
func (m *Manager) Edit(ctx context.Context, request *filev1.EditRequest) (*filev1.EditResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if err := t.checkEdit(request); err != nil {
		return nil, err
	}
	target, err := t.target(request.GetPath(), true)
	if err != nil {
		return nil, err
	}
	unlock, err := t.edits.Lock(ctx, target)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	defer unlock()
	for tries := 1; ; tries++ {
		response, err := m.editOnce(ctx, t, request)
		if status.Code(err) == codes.Aborted && request.GetOptions().GetIfMatch() == "" && tries < editTries {
			continue
		}
		return response, err
	}
}

func (t *tree) checkEdit(request *filev1.EditRequest) error {
	o := request.GetOptions()
	if o.GetEncoding() != filev1.Encoding_ENCODING_UNSPECIFIED || len(o.GetSha256()) > 0 || o.GetCreateOnly() {
		return status.Error(codes.InvalidArgument, "options: encoding, sha256 and create_only are not for an edit")
	}
	if len(request.GetReplacements()) == 0 {
		return status.Error(codes.InvalidArgument, "replacements is empty; an edit has at least one")
	}
	for i, r := range request.GetReplacements() {
		switch {
		case r.GetOld() == "":
			return status.Errorf(codes.InvalidArgument, "replacements[%d].old is empty; write the text that is to be replaced", i)
		case r.GetOld() == r.GetNew():
			return status.Errorf(codes.InvalidArgument, "replacements[%d]: old and new are the same text", i)
		}
	}
	return nil
}

func (m *Manager) editOnce(ctx context.Context, t *tree, request *filev1.EditRequest) (*filev1.EditResponse, error) {
	found, err := t.findFile(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if err := t.matches(request.GetPath(), request.GetOptions().GetIfMatch(), found.Info); err != nil {
		return nil, err
	}
	limit := m.contentLimit()
	if found.Info.Size > limit {
		return nil, t.failf(codes.ResourceExhausted, request.GetPath(), "a file of %d bytes, limit %d (max_content)", found.Info.Size, limit)
	}
	text, err := readPiece(found, 0, found.Info.Size)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	m.metrics.read.Add(float64(len(text)))
	text, replaced, err := t.replaceAll(ctx, request, text, limit)
	if err != nil {
		return nil, err
	}
	c, err := t.conditionsOf(request.GetOptions())
	if err != nil {
		return nil, err
	}
	c.ifMatch = etagOf(found.Info)
	d, err := t.newDraft(request.GetPath(), c)
	if err != nil {
		return nil, err
	}
	defer d.discard()
	if _, err := d.Write(text); err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	entry, _, err := d.commit(ctx)
	if err != nil {
		return nil, err
	}
	return &filev1.EditResponse{Entry: entry, Replaced: replaced}, nil
}

// replaceAll makes the replacements, one after the other. The text never grows
// beyond limit bytes. It ends early with ctx.
func (t *tree) replaceAll(ctx context.Context, request *filev1.EditRequest, text []byte, limit int64) ([]byte, uint32, error) {
	path := request.GetPath()
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, 0, t.failf(codes.FailedPrecondition, path, "is not UTF-8 text; an edit is for text only")
	}
	replaced := 0
	for i, r := range request.GetReplacements() {
		if err := ctx.Err(); err != nil { // a request has room for a million, each of which reads all of the text
			return nil, 0, t.explain(path, err)
		}
		n := bytes.Count(text, []byte(r.GetOld()))
		switch {
		case n == 0:
			return nil, 0, t.failf(codes.FailedPrecondition, path, "replacements[%d]: the old text is not there%s; nothing was changed", i, hint(text, r.GetOld()))
		case n > 1 && !r.GetAll():
			return nil, 0, t.failf(codes.FailedPrecondition, path,
				"replacements[%d]: the old text is there %d times; add lines around it until it is there once, or set all; nothing was changed", i, n)
		}
		if size := int64(len(text)) + int64(n)*int64(len(r.GetNew())-len(r.GetOld())); size > limit {
			return nil, 0, t.failf(codes.ResourceExhausted, path, "replacements[%d] makes a file of %d bytes, limit %d (max_content)", i, size, limit)
		}
		text = bytes.ReplaceAll(text, []byte(r.GetOld()), []byte(r.GetNew()))
		replaced += n
	}
	return text, uint32(replaced), nil
}

// hint says in what the text differs, if that is white space only: the usual way
// to miss it.
func hint(text []byte, old string) string {
	if strings.Contains(old, "\n") && !strings.Contains(old, "\r\n") && bytes.Contains(text, []byte(strings.ReplaceAll(old, "\n", "\r\n"))) {
		return ": the lines of the file end in CR LF"
	}
	squeezed := strings.Join(strings.Fields(string(text)), " ")
	if want := strings.Join(strings.Fields(old), " "); want != "" && strings.Contains(squeezed, want) {
		return ", but a text that differs in white space only is"
	}
	return ""
}
