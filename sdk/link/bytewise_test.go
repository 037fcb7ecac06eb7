package link

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// A dropper forwards what comes from one socket to another, in pieces of n
// bytes, until one of them ends.
func dropper(from, to net.Conn, n int) {
	b := make([]byte, n)
	for {
		k, err := from.Read(b)
		if err != nil {
			break
		}
		if _, err := to.Write(b[:k]); err != nil {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
}

func TestFramesMayComeByteByByte(t *testing.T) {
	for _, n := range []int{1, 3, 11, 4097} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { testInPieces(t, n) })
	}
}

func testInPieces(t *testing.T, n int) {
	t.Helper()
	proctest.LeavesNothing(t)
	j := new(journal)
	s, _ := newService(j)
	v := serve(t, s)
	outside, _ := v.raw(t)
	socket, inside := pair(t)
	var drops sync.WaitGroup
	drops.Go(func() { dropper(inside, outside, n) })
	drops.Go(func() { dropper(outside, inside, n) })
	conn, err := Open(context.Background(), socket)
	if err != nil {
		t.Fatal(err)
	}
	var owners []*owner
	sizes := map[string][]int{
		onTheReader: {0, 1, 5000, 70_000},
		onAWorker:   {0, 1, 5000, 150_000},
		later:       {3, 2 * MaxPayload},
		inParts:     {4, 200_000},
	}
	for method, sizes := range sizes {
		for _, size := range sizes {
			o := newOwner()
			r := &Request{Method: method, Payload: wanting(size), Metadata: AppendPair(nil, "k", "v")}
			if method == later || method == inParts {
				r.Payload = binary.LittleEndian.AppendUint32(nil, uint32(size))
			}
			if err := conn.Start(r, o, &o.handle, nil); err != nil {
				t.Fatal(err)
			}
			owners = append(owners, o)
		}
	}
	got := 0
	for _, o := range owners {
		if a := o.last(t); a.Code != codes.OK {
			t.Errorf("got %v; %q", a.Err(), j.take())
		}
		got += len(o.body)
	}
	if want := 5001 + 70_000 + 5001 + 150_000 + 3 + 2*MaxPayload + 4 + 200_000; got < want || got > want+40 {
		t.Errorf("got %d bytes, want %d and what encloses them", got, want)
	}
	_ = conn.Close()
	drops.Wait()
}
