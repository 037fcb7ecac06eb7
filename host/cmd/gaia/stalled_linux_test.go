package main

import (
	"context"
	"net"
	"strconv"
	"testing"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Who asks for a stream and does not read it holds up the host's memory, and the
// plugin's, by so much and no more.
func TestCallersWhoDoNotReadFillNoMemory(t *testing.T) {
	const callers, each = 100, 1 << 20 // in host and plugin, all buffers together
	source := endless(t)
	h := open(t, newHouse(t), networkConfig(freePort(t), loopbackRule, ""))
	s := h.await(t, "network", isReady)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	conn, err := grpc.NewClient("unix:"+h.table.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(1<<16))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := pss(t, int(s.GetPid())) + pss(t, h.cmd.Process.Pid)
	for range callers {
		stream, err := networkv1.NewNetworkCoordinatorClient(conn).Tunnel(ctx)
		if err == nil {
			err = stream.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: source})
		}
		if err == nil {
			_, err = stream.Recv() // it is open
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Until no tunnel carries anything any more.
	var last uint64
	if !eventually(t, func() bool {
		r, err := h.network().Connections(t.Context(), &networkv1.ConnectionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		now := uint64(0)
		for _, c := range r.GetConnections() {
			now += c.GetReceived()
		}
		still := now > 0 && now == last
		last = now
		return still
	}) {
		t.Fatal("the tunnels still carry")
	}
	used := pss(t, int(s.GetPid())) + pss(t, h.cmd.Process.Pid) - before
	t.Logf("%d callers: %d KB in host and plugin, %d KB carried", callers, used>>10, last>>10)
	if used > callers*each {
		t.Errorf("%d callers who do not read hold %d MB, want at most %d", callers, used>>20, callers*each>>20)
	}
}

// endless is the port of a server that sends for ever.
func endless(t *testing.T) uint32 {
	t.Helper()
	address := serveTCP(t, func(conn net.Conn) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	})
	_, text, _ := net.SplitHostPort(address)
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(port)
}
