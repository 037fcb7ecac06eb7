package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
)

// The frames of docs/protocol.md, made by hand: a peer is bound by nothing.
const (
	callKind, cancelKind, methodKind, creditKind = 1, 4, 5, 6
)

func hello() []byte {
	b := append([]byte("gaia"), 1, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, 1<<20) // larger than any frame
	b = binary.LittleEndian.AppendUint32(b, 1<<14)
	return binary.LittleEndian.AppendUint32(b, 16<<20)
}

func rawFrame(kind byte, number uint16, id uint32, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(12+len(body)))
	b = append(b, kind, 0)
	b = binary.LittleEndian.AppendUint16(b, number)
	b = binary.LittleEndian.AppendUint32(b, id)
	return append(b, body...)
}

func rawCall(id uint32, payload string) []byte {
	body := make([]byte, 10) // no deadline, no metadata
	body = append(body, 10)  // BytesValue.value
	body = binary.AppendUvarint(body, uint64(len(payload)))
	return rawFrame(callKind, 0, id, append(body, payload...))
}

func rawCredit(id, n uint32) []byte {
	return rawFrame(creditKind, 0, id, binary.LittleEndian.AppendUint32(nil, n))
}

func TestAPeerThatBreaksTheProtocolIsCutOffAndNobodyElseNotices(t *testing.T) {
	h := newHang()
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(overLink(t), echo{unary: h.unary})), Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 100_000}}, nil)}
	host := startHost(overLink(t), Options{}, sub)
	greeted := append(hello(), rawFrame(methodKind, 0, 0, []byte(unaryMethod))...)
	huge := append(bytes.Clone(greeted), 0xff, 0xff, 0xff, 0xff)
	tooMany := bytes.Clone(greeted)
	for id := range uint32(20_000) {
		tooMany = append(tooMany, rawCall(id, "x")...)
	}
	credits := append(bytes.Clone(greeted), rawCall(0, "x")...)
	for range 1000 {
		credits = append(credits, rawCredit(0, 1<<16)...)
	}
	stop := wellBehaved(t, host)
	for _, c := range []struct {
		given string
		bytes []byte
		want  string // in the log
	}{
		{"rubbish that begins well", []byte("go away, this is no greeting"), `the other end does not speak link`},
		{"another version", append([]byte("gaia\x02"), make([]byte, 15)...), "but of version 2"},
		{"a huge frame", append(huge, make([]byte, 100)...), "a frame of 4294967295 bytes"},
		{"a tiny frame", append(bytes.Clone(greeted), 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), "a frame of 3 bytes"},
		{"an unknown kind", append(bytes.Clone(greeted), rawFrame(99, 0, 0, nil)...), "a frame of kind 99"},
		{"an unknown method", append(bytes.Clone(greeted), rawFrame(callKind, 7, 0, make([]byte, 10))...), "a call of method 7 of 1"},
		{"methods out of order", append(bytes.Clone(greeted), rawFrame(methodKind, 5, 0, []byte("/a/b"))...), "method 5 after 1 others"},
		{"a duplicate id", append(bytes.Clone(greeted), append(rawCall(1, "x"), rawCall(1, "x")...)...), "a second call with id 1"},
		{"an id too large", append(bytes.Clone(greeted), rawCall(1<<20, "x")...), "a call with id 1048576"},
		{"half a call", append(bytes.Clone(greeted), rawFrame(callKind, 0, 0, make([]byte, 5))...), "a call of 5 bytes"},
		{"metadata too long", append(bytes.Clone(greeted), rawFrame(callKind, 0, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})...), "65535 bytes of metadata"},
		{"broken metadata", append(bytes.Clone(greeted), rawFrame(callKind, 0, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9})...), "metadata is cut off"},
		{"a cancellation of no call", append(bytes.Clone(greeted), rawFrame(cancelKind, 0, 1<<30, nil)...), "a cancellation of call 1073741824"},
		{"credit without end", credits, "a credit for 65536 bytes"},
		{"credit too much", append(bytes.Clone(greeted), rawCredit(0, 1<<30)...), "a credit for 1073741824 bytes"},
		{"20,000 calls without reading", tooMany, "a call with id 16384"},
	} {
		before := len(host.log.String())
		peer := dialSocket(t, host.address)
		_, _ = peer.Write(c.bytes) // it may be cut off meanwhile
		if _, err := io.Copy(io.Discard, peer); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: not cut off", c.given)
		}
		var line string
		eventually(t, c.given+" is logged", func() bool {
			line = host.log.String()[before:]
			return strings.HasSuffix(line, "\n")
		})
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, "peer cut off") || !strings.Contains(line, c.want) ||
			!strings.Contains(line, fmt.Sprintf("pid=%d", os.Getpid())) {
			t.Errorf("%s: the log says %s, want one line with %q", c.given, line, c.want)
		}
	}
	for _, given := range []string{"", "GET / HTTP/1.1\r\n\r\n", "gai", string(hello()[:10]), string(greeted) + "\x50\x00"} { // who gives up in the middle is no news
		peer := dialSocket(t, host.address)
		_, _ = peer.Write([]byte(given))
		_ = peer.Close()
	}
	stop()
	eventually(t, "no call is left", func() bool { return sub.Gate.InFlight() == 0 })
}

// wellBehaved calls all the time, until the returned function is called, and
// sees no error.
func wellBehaved(t *testing.T, h *host) (stop func()) {
	t.Helper()
	var calling sync.WaitGroup
	var done atomic.Bool
	for _, way := range []transport{byLink, byGRPC} {
		conn := dialHost(trial{t, ways{caller: way}}, h.address)
		calling.Go(func() {
			for !done.Load() {
				response := new(wrapperspb.BytesValue)
				err := conn.Invoke(t.Context(), unaryMethod, wrapperspb.Bytes([]byte("quick")), response)
				if err != nil || string(response.GetValue()) != "quick" {
					t.Errorf("a well-behaved caller over %s: %q, %v", way, response.GetValue(), err)
					return
				}
			}
		})
	}
	return func() {
		done.Store(true)
		calling.Wait()
	}
}

// A peer who asks and does not listen is held, with no more of its answers than
// fit in the queue; and cut off only by itself.
func TestAPeerThatReadsNothingIsHeld(t *testing.T) {
	host := echoHost(overLink(t), echo{})
	stop := wellBehaved(t, host)
	defer stop()
	peer := dialSocket(t, host.address)
	if _, err := peer.Write(append(hello(), rawFrame(methodKind, 0, 0, []byte(unaryMethod))...)); err != nil {
		t.Fatal(err)
	}
	payload := strings.Repeat("x", 32<<10)
	if err := peer.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for id := range uint32(10_000) { // 320 MB of answers
		if _, err := peer.Write(rawCall(id, payload)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after %d calls: %v", sent, err)
			}
			break
		}
		sent++
	}
	if sent > 1000 { // its own queues and ours
		t.Errorf("%d calls were taken from a peer that reads nothing", sent)
	}
}
