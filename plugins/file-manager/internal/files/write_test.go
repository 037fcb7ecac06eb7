package files

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAWriteReplacesTheContentAndKeepsTheMode(t *testing.T) {
	b := open(t)
	first, err := b.write("a.txt", "old")
	if err != nil || !first.GetCreated() || first.GetEntry().GetMode() != 0o644 || first.GetEntry().GetSize() != 3 {
		t.Fatalf("got %v, %v, want a new file with mode 0644 and 3 bytes", first, err)
	}
	if err := os.Chmod(filepath.Join(b.dir, "a.txt"), 0o750); err != nil {
		t.Fatal(err)
	}
	second, err := b.write("a.txt", "newer")
	if err != nil || second.GetCreated() || second.GetEntry().GetMode() != 0o750 || second.GetEntry().GetEtag() == first.GetEntry().GetEtag() {
		t.Errorf("got %v, %v, want the file there before, mode 0750, another etag", second, err)
	}
	b.has("a.txt", "newer")
	if e := b.mustWrite("a.txt", "newest", func(o *filev1.WriteOptions) { o.Mode = 0o600 }); e.GetMode() != 0o600 {
		t.Errorf("mode: got %o, want the one asked for, 600", e.GetMode())
	}
	b.noTemp()
}

func TestAConditionThatDoesNotHoldLeavesEverythingAsItWas(t *testing.T) {
	b := open(t)
	etag := b.mustWrite("a", "1").GetEtag()
	b.mustWrite("a", "2")
	_, err := b.write("a", "3", func(o *filev1.WriteOptions) { o.IfMatch = etag })
	wantCode(t, "if_match of an old etag", err, codes.Aborted, "somebody has changed it")
	now, statErr := b.Stat(t.Context(), &filev1.StatRequest{Root: "r", Path: "a"})
	if statErr != nil || !strings.Contains(err.Error(), now.GetEntry().GetEtag()) {
		t.Errorf("the error does not name the etag of now, %q: %v, %v", now.GetEntry().GetEtag(), err, statErr)
	}
	_, err = b.write("b", "3", func(o *filev1.WriteOptions) { o.IfMatch = "*" })
	wantCode(t, "if_match without a file", err, codes.Aborted, "there is no file")
	_, err = b.write("a", "3", func(o *filev1.WriteOptions) { o.CreateOnly = true })
	wantCode(t, "create_only", err, codes.AlreadyExists, "the file exists")
	_, err = b.write("a", "3", func(o *filev1.WriteOptions) { o.Sha256 = make([]byte, 32) })
	wantCode(t, "sha256", err, codes.DataLoss, "nothing was written")
	b.has("a", "2")
	b.lacks("b")
	sum := sha256.Sum256([]byte("4"))
	b.mustWrite("a", "4", func(o *filev1.WriteOptions) { o.IfMatch, o.Sha256 = now.GetEntry().GetEtag(), sum[:] })
	b.has("a", "4")
	b.noTemp()
}

// Of many who write under the same etag one wins, whoever writes past the manager.
func TestOnlyOneOfManyWritersWithTheSameEtagSucceeds(t *testing.T) {
	b := open(t)
	for round := range 30 {
		etag := b.mustWrite("a", "start").GetEtag()
		results := make(chan error)
		for range 8 {
			go func() {
				_, err := b.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "r", Path: "a", Content: []byte("x"), Options: &filev1.WriteOptions{IfMatch: etag}})
				results <- err
			}()
		}
		won := 0
		for range 8 {
			if err := <-results; err == nil {
				won++
			} else if status.Code(err) != codes.Aborted {
				t.Errorf("got %v, want Aborted", err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d writers succeeded, want 1", round, won)
		}
	}
	b.noTemp()
}

// The exchange sees a program that writes beside gaia between the look and the
// rename: what it wrote is never lost.
func TestAForeignWriterIsNotOverwrittenByAConditionalWrite(t *testing.T) {
	b := open(t)
	for i := range 200 {
		etag := b.mustWrite("a", "start").GetEtag()
		foreign := make(chan error)
		go func() {
			name := filepath.Join(b.dir, "foreign")
			err := os.WriteFile(name, []byte("foreign"), 0o644)
			if err == nil {
				err = os.Rename(name, filepath.Join(b.dir, "a"))
			}
			foreign <- err
		}()
		_, err := b.write("a", "ours", func(o *filev1.WriteOptions) { o.IfMatch = etag })
		if err := <-foreign; err != nil {
			t.Fatal(err)
		}
		got, readErr := os.ReadFile(filepath.Join(b.dir, "a"))
		// Ours came first, or it was refused; either way the foreign content is there.
		if readErr != nil || string(got) != "foreign" {
			t.Fatalf("round %d: got %q, %v after %v, want the foreign content", i, got, readErr, err)
		}
	}
	b.noTemp()
}

func TestMissingDirectoriesAreMadeOnlyIfAskedFor(t *testing.T) {
	b := open(t)
	_, err := b.write("x/y/z", "1")
	wantCode(t, "without make_parents", err, codes.NotFound, "make_parents")
	b.lacks("x")
	b.mustWrite("x/y/z", "1", func(o *filev1.WriteOptions) { o.MakeParents, o.Durability = true, filev1.Durability_FSYNC })
	b.has("x/y/z", "1")
}

func TestAWriteThroughALinkChangesWhatItLeadsTo(t *testing.T) {
	b := open(t)
	b.put("d/real", "old")
	for name, target := range map[string]string{"link": "d/real", "dangling": "nothing", "out": "../elsewhere"} {
		if err := os.Symlink(target, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if e := b.mustWrite("link", "new"); e.GetPath() != "d/real" {
		t.Errorf("path: got %q, want that of the file, d/real", e.GetPath())
	}
	b.has("d/real", "new")
	if target, err := os.Readlink(filepath.Join(b.dir, "link")); err != nil || target != "d/real" {
		t.Errorf("the link: got %q, %v, want it untouched", target, err)
	}
	_, err := b.write("dangling", "x")
	wantCode(t, "dangling", err, codes.NotFound, "leads to nothing")
	_, err = b.write("out", "x")
	wantCode(t, "out", err, codes.PermissionDenied, "out of the root")
	b.lacks("../elsewhere")
}

func TestAStreamWritesWholeFilesOrNothing(t *testing.T) {
	b := open(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 300_000) // 4.8 MB
	send := func(end func(filev1.FileManager_WriteClient) error, options *filev1.WriteOptions, content []byte) error {
		stream, err := b.Write(t.Context())
		if err != nil {
			return err
		}
		first := &filev1.WriteRequest{Root: "r", Path: "big", Options: options}
		for len(content) > 0 {
			n := min(len(content), 300_000)
			first.Content = content[:n]
			if err := stream.Send(first); err != nil {
				break
			}
			content, first = content[n:], &filev1.WriteRequest{}
		}
		return end(stream)
	}
	finish := func(stream filev1.FileManager_WriteClient) error {
		_, err := stream.CloseAndRecv()
		return err
	}
	sum := sha256.Sum256(content)
	if err := send(finish, &filev1.WriteOptions{Sha256: sum[:]}, content); err != nil {
		t.Fatal(err)
	}
	b.has("big", string(content))
	err := send(finish, &filev1.WriteOptions{Sha256: sum[:]}, content[1:])
	wantCode(t, "another content", err, codes.DataLoss, "SHA-256")
	err = send(finish, &filev1.WriteOptions{Encoding: filev1.Encoding_GZIP}, content)
	wantCode(t, "no gzip", err, codes.InvalidArgument, "not well-formed GZIP")
	b.has("big", string(content))
	b.noTemp()
}

func TestAStreamThatBreaksOffChangesNothing(t *testing.T) {
	b := open(t)
	b.put("a", "old")
	ctx, cancel := withCancel(t)
	stream, err := b.Write(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&filev1.WriteRequest{Root: "r", Path: "a", Content: []byte("half")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a temporary file", func() bool { return len(names(t, filepath.Join(b.dir, stateDir, tempDir))) == 1 })
	cancel()
	eventually(t, "no temporary file", func() bool { return len(names(t, filepath.Join(b.dir, stateDir, tempDir))) == 0 })
	b.has("a", "old")
}

func TestContentTravelsCompressedBothWays(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.MaxFileSize = 20 << 20 })
	content := []byte(strings.Repeat("all work and no play\n", 100_000)) // 2 MB
	b.put("a", string(content))
	for _, encoding := range []filev1.Encoding{filev1.Encoding_GZIP, filev1.Encoding_ZSTD} {
		read, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "a", Encoding: encoding})
		if err != nil || len(read.GetContent()) > len(content)/10 {
			t.Fatalf("%v: got %d bytes, %v, want it small", encoding, len(read.GetContent()), err)
		}
		if _, err := b.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "r", Path: "b", Content: read.GetContent(), Options: &filev1.WriteOptions{Encoding: encoding}}); err != nil {
			t.Fatal(err)
		}
		b.has("b", string(content))
		var streamed []byte
		stream, err := b.Read(t.Context(), &filev1.ReadRequest{Root: "r", Path: "a", Encoding: encoding})
		for err == nil {
			var piece *filev1.ReadResponse
			if piece, err = stream.Recv(); err == nil {
				streamed = append(streamed, piece.GetContent()...)
			}
		}
		decoded, decodeErr := decoder(bytes.NewReader(streamed), encoding)
		if !errors.Is(err, io.EOF) || decodeErr != nil {
			t.Fatal(err, decodeErr)
		}
		if got, err := io.ReadAll(decoded); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%v: the stream decodes to %d bytes, %v, want %d", encoding, len(got), err, len(content))
		}
	}
}

func TestACompressedBombEndsEarly(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Quota = 50 << 20 })
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 200 { // 200 MB in 200 KB
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	gzipped := &filev1.WriteOptions{Encoding: filev1.Encoding_GZIP}
	_, err := b.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "r", Path: "bomb", Content: bomb.Bytes(), Options: gzipped})
	wantCode(t, "WriteFile", err, codes.ResourceExhausted, "max_content")
	stream, err := b.Write(t.Context())
	if err == nil {
		err = stream.Send(&filev1.WriteRequest{Root: "r", Path: "bomb", Content: bomb.Bytes(), Options: gzipped})
	}
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	wantCode(t, "Write", err, codes.ResourceExhausted, "quota")
	b.lacks("bomb")
	b.noTemp()
}
