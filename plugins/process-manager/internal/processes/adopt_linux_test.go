package processes

import (
	"errors"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
)

func TestAnAdoptedProcessHasNotEndedBecauseNobodyTellsOfIt(t *testing.T) {
	leavesNothing(t)
	p, err := spawn.Start(spawn.Config{Path: "/bin/sleep", Args: []string{"600"}})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() {
		_, _, err := awaitKept(t.Context(), "one", p.Pidfd) // there is no keeper
		told <- err
	}()
	select {
	case err := <-told:
		t.Errorf("before the end: %v", err)
	case <-time.After(3 * awaitAgain):
	}
	if err := spawn.Signal(p.Pidfd, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, sdk.ErrKeepUnavailable) {
		t.Errorf("got %v", err)
	}
	<-p.Done()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
