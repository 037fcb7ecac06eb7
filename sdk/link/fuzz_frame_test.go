package link

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// FuzzFrames parses any bytes as frames: none reaches beyond what there is, and
// what is written of one that was read is what had been read.
func FuzzFrames(f *testing.F) {
	_, methods := allMethods()
	f.Add(methods)
	f.Add(appendCall(nil, 1, 2, &Request{Timeout: time.Second, Metadata: AppendPair(nil, "k", "v"), Payload: []byte("p")}))
	f.Add(appendAnswer(nil, 1, &Answer{Header: AppendPair(nil, "k", "v"), Trailer: []byte{1}, Payload: []byte("p"), More: true, Total: 9}))
	f.Add(appendAnswer(nil, 1, &Answer{Code: codes.Aborted, Refused: true}))
	f.Add(appendPart(nil, 1, &Answer{Payload: []byte("p")}))
	f.Add(appendCredit(nil, 1, 7))
	f.Add(ourGreeting().append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Anything that is read beyond b panics.
		b = slices.Clip(b)
		if len(b) >= greetingSize {
			if g, err := parseGreeting(b[:greetingSize]); err == nil && !bytes.Equal(g.append(nil), b[:greetingSize]) {
				t.Errorf("the greeting %x is written as %x", b[:greetingSize], g.append(nil))
			}
		}
		for len(b) > 0 {
			f, n, err := parseFrame(b)
			if err != nil || n == 0 {
				return
			}
			if n > len(b) || len(f.body) != n-headerSize || cap(f.body) != len(f.body) {
				t.Fatalf("a frame of %d bytes with a body of %d (%d) in %d", n, len(f.body), cap(f.body), len(b))
			}
			if again, ok := written(f); ok && !bytes.Equal(again, b[:n]) {
				t.Errorf("%x is written as %x", b[:n], again)
			}
			b = b[n:]
		}
	})
}

// written writes a frame that can be read. It reports false if it cannot.
func written(f frame) (b []byte, ok bool) {
	switch f.kind {
	case kindCall:
		timeout, metadata, payload, err := parseCall(f.body)
		if err != nil || timeout > 1<<63-1 || f.flags != 0 {
			return nil, false
		}
		_ = checkMetadata(metadata)
		_ = DecodeMetadata(metadata)
		return appendCall(nil, f.id, f.number, &Request{Timeout: time.Duration(timeout), Metadata: metadata, Payload: payload}), true
	case kindAnswer, kindPart:
		var a Answer
		if parseAnswer(f, &a) != nil || f.flags&^(flagMore|flagRefused) != 0 {
			return nil, false
		}
		_ = a.Err()
		if a.Part {
			return appendPart(nil, f.id, &a), true
		}
		return appendAnswer(nil, f.id, &a), true
	case kindCredit:
		n, err := parseCredit(f.body)
		if err != nil || f.flags != 0 || f.number != 0 {
			return nil, false
		}
		return appendCredit(nil, f.id, n), true
	default:
		return nil, false
	}
}
