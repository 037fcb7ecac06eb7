package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

func TestOpenSaysWhatIsWrongWithAGreeting(t *testing.T) {
	proctest.LeavesNothing(t)
	for name, c := range map[string]struct {
		given []byte
		want  string
	}{
		"nothing":          {nil, "does not speak link: EOF"},
		"half":             {hello(nil)[:19], "does not speak link: unexpected EOF"},
		"another magic":    {[]byte("HTTP/1.1 400 Bad Request"), `does not speak link: it began with "HTTP"`},
		"another version":  {hello(func(g *greeting) { g.version = 0 }), "does not speak link of version 1 but of version 0"},
		"no zeros":         {changed(hello(nil), 5, 9), "its greeting has 090000 where zeros belong"},
		"too small frames": {hello(func(g *greeting) { g.frame = 0 }), "it bears frames of 0 bytes"},
		"no calls":         {hello(func(g *greeting) { g.calls = 0 }), ", 0 calls and"},
		"too few bytes":    {hello(func(g *greeting) { g.window = maxFrame - 1 }), "and 98323 bytes of requests"},
	} {
		socket, server := pair(t)
		pieces(server, c.given, 0)
		if err := server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), socket)
		if !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want ErrNoLink with %q", name, err, c.want)
		}
		server.Close()
	}
}

func TestAGreetingMayPromiseAnything(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, greeting{version: version, frame: 1<<32 - 1, calls: 1<<32 - 1, window: 1<<32 - 1})
	o := newOwner()
	if err := client.Start(&Request{Method: "/s.S/M"}, o, &o.handle, nil); err != nil {
		t.Fatal(err)
	}
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	if a := o.last(t); a.Code != codes.OK {
		t.Errorf("got %v", a.Err())
	}
}

// A server that does what it must not breaks the connection off. Calls 0 to 2
// are in flight.
func TestAClientSaysWhyItLeavesAServer(t *testing.T) {
	part := func(id uint32, n int, more bool) []byte {
		return appendPart(nil, id, &Answer{Payload: make([]byte, n), More: more})
	}
	begin := func(id uint32, total, n int) []byte {
		return appendAnswer(nil, id, &Answer{Payload: make([]byte, n), Total: total, More: true})
	}
	withoutCredit := begin(2, MaxAnswer, MaxPayload)
	for range 2 * answerWindow / MaxPayload {
		withoutCredit = append(withoutCredit, part(2, MaxPayload, true)...)
	}
	answer := func(header, trailer, rest int) []byte {
		return appendAnswer(nil, 0, &Answer{Header: make([]byte, header), Trailer: make([]byte, trailer), Payload: make([]byte, rest)})
	}
	cases := []struct {
		name  string
		given []byte
		want  string // in Err
	}{
		{"nothing", nil, "EOF"},
		{"a frame of no length", ofLength(0, kindAnswer), "a frame of 0 bytes, allowed are 12 to 98324"},
		{"a frame that is too long", ofLength(maxFrame+1, kindAnswer), "a frame of 98325 bytes"},
		{"half a frame", answer(0, 0, 10)[:15], "the connection ended in the middle of a frame"},
		{"kind 0", ofLength(headerSize, 0), "a frame of kind 0, which is none that a server sends"},
		{"a call", appendCall(nil, 0, 0, &Request{}), "a frame of kind 1, which is none that a server sends"},
		{"a credit", appendCredit(nil, 0, 1), "a frame of kind 6, which is none that a server sends"},
		{"an answer without its fixed part", appendHeader(nil, kindAnswer, 0, 0, 0, 0), "an answer of 0 bytes, at least 8 are needed"},
		{"metadata that is longer than the answer", append(appendHeader(nil, kindAnswer, 0, 0, 0, answerSize), 1, 0, 1, 0, 0, 0, 0, 0), "1 and 1 bytes of metadata in an answer with 0"},
		{"too large a header", answer(MaxMetadata+1, 0, 0), "16385 and 0 bytes of metadata"},
		{"too large a trailer", answer(0, MaxMetadata+1, 0), "0 and 16385 bytes of metadata"},
		{"too much at once", answer(0, 0, MaxPayload+1), "65537 bytes of an answer at once, at most 65536 are allowed"},
		{"an error that goes on", appendAnswer(nil, 0, &Answer{Code: codes.Internal, More: true}), "an answer that goes on after code 13"},
		{"an answer that is too large", begin(0, MaxAnswer+1, 1), "an answer of 67108865 bytes, at most 67108864 are allowed"},
		{"an answer to nobody", appendAnswer(nil, 3, &Answer{}), "an answer to call 3, which is not in flight"},
		{"an answer to nobody at all", appendAnswer(nil, 1<<32-1, &Answer{}), "an answer to call 4294967295, which is not in flight"},
		{"a second answer", join(appendAnswer(nil, 1, &Answer{}), appendAnswer(nil, 1, &Answer{})), "an answer to call 1, which is not in flight"},
		{"a part after the last", join(begin(1, 2, 1), part(1, 1, false), part(1, 1, false)), "an answer to call 1, which is not in flight"},
		{"a part without an answer", part(0, 10, true), "call 0: a part of an answer that has not begun"},
		{"an end without an answer", part(2, 10, false), "call 2: a part of an answer that has not begun"},
		{"more than was announced", join(begin(0, 100, 60), part(0, 41, true)), "call 0: 101 bytes of an answer of 100"},
		{"less than was announced", join(begin(0, 100, 60), part(0, 39, false)), "call 0: 99 bytes of an answer of 100"},
		{"another length than announced, at once", appendAnswer(nil, 0, &Answer{Payload: make([]byte, 5), Total: 6}), "call 0: 5 bytes of an answer of 6"},
		{"more than there is credit for", withoutCredit, fmt.Sprintf("call 2: %d bytes of an answer without credit", 2*answerWindow+MaxPayload)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			proctest.LeavesNothing(t)
			client, server := opened(t, ourGreeting())
			var owners []*owner
			for range 3 {
				o := newOwner()
				o.grants = false
				if err := client.Start(&Request{Method: "/s.S/M"}, o, &o.handle, nil); err != nil {
					t.Fatal(err)
				}
				owners = append(owners, o)
			}
			pieces(server, c.given, 0)
			if err := server.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			within(t, "the end of the connection", client.Done())
			if err := client.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			for id, o := range owners {
				if a := o.last(t); a.Code == codes.OK && id != 1 || a.Code != codes.OK && a.Reach != Lost {
					t.Errorf("call %d: got %v with %v of reach", id, a.Err(), a.Reach)
				}
			}
		})
	}
}

func TestAServerThatNeverReadsIsLeft(t *testing.T) {
	proctest.LeavesNothing(t)
	client, _ := opened(t, greeting{version: version, frame: maxFrame, calls: 1 << 20, window: 1<<32 - 1})
	var owners []*owner
	r := &Request{Method: "/s.S/M", Payload: make([]byte, MaxPayload)}
	for client.Err() == nil && len(owners) < 5000 {
		o := newOwner()
		err := client.Start(r, o, &o.handle, nil)
		if err != nil {
			if code := status.Code(err); code != codes.Unavailable {
				t.Errorf("got %v, want Unavailable", err)
			}
			break
		}
		owners = append(owners, o)
	}
	within(t, "the end of the connection", client.Done())
	if err := client.Err(); !strings.Contains(err.Error(), fmt.Sprintf("bytes wait for a peer that does not read them, limit %d", hardQueue)) {
		t.Errorf("got %v", err)
	}
	reached := 0
	for _, o := range owners {
		if a := o.last(t); a.Reach == Lost {
			reached++
		} else if a.Reach != Unreached {
			t.Errorf("got %v with %v of reach", a.Err(), a.Reach)
		}
	}
	t.Logf("%d calls, %d of them perhaps reached the server", len(owners), reached)
}

func TestAnAnswerThatIsTooLargeIsRefusedBeforeItComes(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, ourGreeting())
	pieces(server, nil, 0)
	told := make(chan error, 1)
	go func() {
		told <- client.Invoke(context.Background(), "/s.S/M", nil, new(emptypb.Empty), grpc.MaxCallRecvMsgSize(1000))
	}()
	frames(t, server, headerSize+len("/s.S/M")+headerSize+callSize)
	pieces(server, appendAnswer(nil, 0, &Answer{More: true, Total: MaxAnswer, Payload: []byte("x")}), 0)
	if err := <-told; status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "(67108864 vs. 1000)") {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
}
