package unpack

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how far back a zstd body may refer, and so its decoder's memory:
// RFC 9659 allows no more. That of br is 16 MiB at most, of gzip 32 KiB.
const maxWindow = 8 << 20

// decoder is one of the three, in one form.
type decoder interface {
	io.Reader
	// Reset begins another body. It may read the beginning of it.
	Reset(packed io.Reader) error
}

// pool keeps the decoders of a coding, whose tables are large to make.
type pool struct {
	coding string
	fresh  func() (decoder, error)
	idle   sync.Pool
}

// get returns a decoder at the beginning of a body.
func (p *pool) get(packed io.Reader) (decoder, error) {
	d, ok := p.idle.Get().(decoder)
	if !ok {
		var err error
		if d, err = p.fresh(); err != nil {
			return nil, err
		}
	}
	if err := d.Reset(packed); err != nil {
		p.put(d)
		return nil, err
	}
	return d, nil
}

func (p *pool) put(d decoder) { p.idle.Put(d) }

// pools are those of all codings.
type pools struct {
	gzip, br, zstd pool
	once           sync.Once
}

// of returns the pool of a coding, nil for an unknown one.
func (p *pools) of(coding string) *pool {
	p.once.Do(func() {
		p.gzip.coding, p.gzip.fresh = "gzip", func() (decoder, error) { return new(gzip.Reader), nil }
		p.br.coding, p.br.fresh = "br", func() (decoder, error) { return brotli.NewReader(nil), nil }
		// With a concurrency of 1 it has no goroutines, so that it need not be closed.
		p.zstd.coding, p.zstd.fresh = "zstd", func() (decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		}
	})
	switch strings.ToLower(coding) {
	case "gzip", "x-gzip":
		return &p.gzip
	case "br":
		return &p.br
	case "zstd":
		return &p.zstd
	}
	return nil
}

// body is a packed body, unpacked while it is read. The decoder is had with the
// first byte and given back with the last.
type body struct {
	packed io.ReadCloser
	pool   *pool
	turns  turns
	ended  func() error // not nil when the request has ended
	source source

	mu      sync.Mutex // Close may come while a Read is under way
	decoder decoder
	end     error // what all further Reads return
}

// Read reads unpacked bytes.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return 0, b.end
	}
	b.turns.take()
	defer b.turns.give()
	if b.decoder == nil {
		b.source = source{packed: b.packed, turns: b.turns, ended: b.ended}
		d, err := b.pool.get(&b.source)
		if err != nil {
			b.end = b.words(err)
			return 0, b.end
		}
		b.decoder = d
	}
	n, err := b.decoder.Read(p)
	if err != nil {
		b.end = b.words(err)
		b.pool.put(b.decoder)
		b.decoder = nil
	}
	return n, b.end
}

// words says what is wrong with the body. io.EOF alone is its end.
func (b *body) words(err error) error {
	switch {
	case b.source.err != nil: // of the connection, or of the coding around this one
		return b.source.err
	case err == io.EOF: //nolint:errorlint // a wrapped one is not the end
		return io.EOF
	case b.source.whole && !b.source.some: // nothing, packed by nobody
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: cut off: the body is complete, what is packed in it is not", b.pool.coding)
	}
	text := err.Error()
	for _, own := range []string{"gzip: ", "brotli: ", "zstd: "} {
		text = strings.TrimPrefix(text, own)
	}
	return errors.New(b.pool.coding + ": " + text)
}

// Close closes the packed body.
func (b *body) Close() error {
	err := b.packed.Close() // first: it ends a Read that waits
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.decoder != nil {
		b.pool.put(b.decoder)
		b.decoder = nil
	}
	if b.end == nil {
		b.end = errors.New("read from a closed body")
	}
	return err
}

// source is the packed body as a decoder reads it. It notes how it ended, which
// decoders tell in words of their own.
type source struct {
	packed io.Reader
	turns  turns
	ended  func() error // not nil when the request has ended
	some   bool         // whether there was a byte
	whole  bool         // whether that was all of it
	err    error        // what ended it else
}

// Read gives others the turn while it waits for the server. What ends the
// request ends it, too: bodies that are packed over each other can be work for
// hours without another byte from the server, or for the caller.
func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ended(); s.err != nil {
		return 0, s.err
	}
	s.turns.give()
	n, err := s.packed.Read(p)
	s.turns.take()
	s.some = s.some || n > 0
	if err == io.EOF { // bare: a wrapped one is not the end
		s.whole = true
	} else if err != nil {
		s.err = err
	}
	return n, err
}

// turns are of those who unpack, so many at once.
type turns chan struct{}

func (t turns) take() { t <- struct{}{} }
func (t turns) give() { <-t }
