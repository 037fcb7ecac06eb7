package pool

import (
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

func TestTheClientsOfABrowserThatDiesAreToldAtOnce(t *testing.T) {
	p, door := withDoor(t, &browserv1.CDP{})
	socket, _, err := dial(t, door)
	if err != nil {
		t.Fatal(err)
	}
	createTab(t, socket)
	for pid := range children(t) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	begin := time.Now()
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInternalError {
		t.Errorf("got %v", err)
	}
	t.Log("told after", time.Since(begin))
	eventually(t, "its place is free", func() bool { return p.running.slots.Counts().Tabs == 0 })
	if _, _, err := dial(t, door); err != nil {
		t.Errorf("the next client: %v", err)
	}
}
