package link

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// changed is b with another byte.
func changed(b []byte, at int, to byte) []byte {
	b[at] = to
	return b
}

func hello(change func(g *greeting)) []byte {
	g := ourGreeting()
	if change != nil {
		change(&g)
	}
	return g.append(nil)
}

// ofLength is a frame that says so of itself.
func ofLength(n uint32, k kind) []byte {
	return changedLength(appendHeader(nil, k, 0, 0, 0, 0), n)
}

func changedLength(b []byte, n uint32) []byte {
	binary.LittleEndian.PutUint32(b, n)
	return b
}

// callBody is a call whose metadata is as long as it says.
func callBody(metadata uint16, rest int) []byte {
	b := appendHeader(nil, kindCall, 0, 0, 0, callSize+rest)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint16(b, metadata)
	return append(b, make([]byte, rest)...)
}

func TestAServerSaysWhyItCutsAClientOff(t *testing.T) {
	_, methods := allMethods()
	blocked := appendCall(nil, 7, 2, &Request{}) // until it is cancelled
	var tooMany []byte
	for n := range maxMethods + 1 {
		tooMany = append(tooMany, methodFrame(n, "/m.M/M")...)
	}
	cases := []struct {
		name    string
		given   []byte // after the greeting, unless ungreeted
		raw     bool   // given is all that the client sends
		hangsUp bool   // after that
		want    string // in the one line that is logged
	}{
		{"half a greeting", hello(nil)[:11], true, true, "the other end does not speak link: unexpected EOF"},
		{"another magic", changed(hello(nil), 3, 'o'), true, false, `does not speak link: it began with \"gaio\"`},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), true, false, `does not speak link: it began with \"PRI \"`},
		{"another version", hello(func(g *greeting) { g.version = 2 }), true, false, "does not speak link of version 1 but of version 2"},
		{"something where zeros belong", changed(hello(nil), 6, 1), true, false, "its greeting has 000100 where zeros belong"},
		{"frames that are too small", hello(func(g *greeting) { g.frame = maxFrame - 1 }), true, false, "it bears frames of 98323 bytes"},
		{"no calls at all", hello(func(g *greeting) { g.calls = 0 }), true, false, ", 0 calls and"},
		{"no bytes at all", hello(func(g *greeting) { g.window = 0 }), true, false, "and 0 bytes of requests"},
		{"a frame of no length", ofLength(0, kindCall), false, false, "a frame of 0 bytes, allowed are 12 to 98324"},
		{"a frame of less than its header", ofLength(headerSize-1, kindCall), false, false, "a frame of 11 bytes, allowed are 12 to 98324"},
		{"a frame that is too long", ofLength(maxFrame+1, kindCall), false, false, "a frame of 98325 bytes, allowed are 12 to 98324"},
		{"a frame of 4 GiB", ofLength(1<<32-1, kindCall), false, false, "a frame of 4294967295 bytes"},
		{"half a frame", methods[:20], false, true, "the connection ended in the middle of a frame"},
		{"kind 0", ofLength(headerSize, 0), false, false, "a frame of kind 0, which is none that a client sends"},
		{"an answer", appendAnswer(nil, 0, &Answer{}), false, false, "a frame of kind 2, which is none that a client sends"},
		{"a goodbye", ofLength(headerSize, kindGoodbye), false, false, "a frame of kind 7, which is none that a client sends"},
		{"kind 255", ofLength(headerSize, 255), false, false, "a frame of kind 255, which is none that a client sends"},
		{"a call before its method", appendCall(nil, 0, 0, &Request{}), false, false, "a call of method 0 of 0"},
		{"a call of another method", join(methods, appendCall(nil, 0, 9, &Request{})), false, false, "a call of method 9 of 9"},
		{"a call with too large an id", join(methods, appendCall(nil, maxCalls, 0, &Request{})), false, false, "a call with id 16384, at most 16384 may be in flight"},
		{"a second call with an id", join(methods, blocked, blocked), false, false, "a second call with id 7, the first is still in flight"},
		{"a second call with a cancelled id", join(methods, blocked, appendHeader(nil, kindCancel, 0, 0, 7, 0), blocked), false, false, "a second call with id 7"},
		{"a call without its fixed part", appendHeader(nil, kindCall, 0, 0, 0, 0), false, false, "a call of 0 bytes, at least 10 are needed"},
		{"metadata that is longer than the call", callBody(5, 4), false, false, "5 bytes of metadata in a call with 4"},
		{"too much metadata", callBody(MaxMetadata+1, MaxMetadata+1), false, false, "16385 bytes of metadata in a call with 16385, at most 16384 are allowed"},
		{"metadata whose pairs do not fit", join(methods, appendCall(nil, 0, 0, &Request{Metadata: []byte{9, 0, 'x'}})), false, false, "metadata is cut off"},
		{"a message that is too large", join(methods, callBody(0, MaxPayload+1)), false, false, "a message of 65537 bytes, at most 65536 are allowed"},
		{"too many methods", tooMany, false, false, "more than 4096 methods"},
		{"methods out of order", join(methodFrame(0, "/a.A/A"), methodFrame(2, "/a.A/B")), false, false, "method 2 after 1 others"},
		{"a method's number again", join(methodFrame(0, "/a.A/A"), methodFrame(0, "/a.A/A")), false, false, "method 0 after 1 others"},
		{"a long name", methodFrame(0, strings.Repeat("x", 1025)), false, false, "a method's name of 1025 bytes, at most 1024 are allowed"},
		{"a cancellation with too large an id", appendHeader(nil, kindCancel, 0, 0, maxCalls, 0), false, false, "a cancellation of call 16384, at most 16384 may be in flight"},
		{"a credit of no bytes", appendHeader(nil, kindCredit, 0, 0, 0, 0), false, false, "a credit of 0 bytes, 4 are needed"},
		{"too large a credit", appendCredit(nil, 0, answerWindow+1), false, false, fmt.Sprintf("a credit for %d bytes, at most %d are allowed", answerWindow+1, answerWindow)},
		{"a credit that was not earned", join(methods, blocked, appendCredit(nil, 7, 1)), false, false, "a credit for 1 bytes of an answer of which 0 were sent without"},
		{"more bytes of requests than it may", join(methods, full(), appendCall(nil, 0, 2, &Request{})), false, false, "bytes of requests in flight, at most 67108864 are allowed"},
	}
	j := new(journal)
	s, _ := newService(j)
	proctest.LeavesNothing(t)
	v := serve(t, s)
	good := v.open(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client, done := v.raw(t)
			if !c.raw {
				if _, err := greet(client, greetTimeout); err != nil {
					t.Fatal(err)
				}
			}
			pieces(client, c.given, 0)
			if c.hangsUp {
				client.CloseWrite() // with Close it would be reset: a peer that is gone
			}
			within(t, "the end of the connection", done)
			lines := j.take()
			if len(lines) != 1 || !strings.Contains(lines[0], "peer cut off") || !strings.Contains(lines[0], c.want) {
				t.Errorf("got the lines %q, want one with %q", lines, c.want)
			}
			if a := ask(t, good, &Request{Method: onAWorker, Payload: wanting(9)}); a.Code != codes.OK {
				t.Errorf("a good client: %v", a.Err())
			}
		})
	}
}

// full is as many bytes of requests as may be in flight, from id 1 on. Their
// handlers wait.
func full() (b []byte) {
	const size = headerSize + callSize + MaxPayload
	for id := range uint32(window / size) {
		b = appendCall(b, id+1, 2, &Request{Payload: make([]byte, MaxPayload)})
	}
	rest := window%size - headerSize - callSize
	return appendCall(b, maxCalls-1, 2, &Request{Payload: make([]byte, rest)})
}

func TestWhatMayComeTooLateIsNoFault(t *testing.T) {
	proctest.LeavesNothing(t)
	j := new(journal)
	s, _ := newService(j)
	v := serve(t, s)
	client, done := v.greeted(t)
	_, methods := allMethods()
	pieces(client, join(
		appendHeader(nil, kindCancel, 0, 0, 5, 0),
		appendCredit(nil, 5, 10),
		methods,
		appendCall(nil, 5, 0, &Request{Payload: wanting(1)}),
	), 0)
	if n := countAnswers(t, client, 1); n != 1 {
		t.Errorf("a cancellation and a credit for an id that is not in flight broke the connection: %q", j.take())
	}
	client.Close()
	within(t, "the end of the connection", done)
	if lines := j.take(); len(lines) > 0 {
		t.Errorf("got the lines %q", lines)
	}
}
