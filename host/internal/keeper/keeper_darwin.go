package keeper

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

// Keeper keeps nothing: this system has neither sockets of packets that carry
// files nor a way to adopt orphans. Plugins learn that there is no keeper.
type Keeper struct{}

// New returns a keeper.
func New() *Keeper { return &Keeper{} }

// Degraded says that there is no keeper.
func (*Keeper) Degraded() error { return errors.New("keeper: not available on this system") }

// Store returns a store.
func (*Keeper) Store(string) *Store { return &Store{} }

// Run waits for the end of ctx.
func (*Keeper) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Store keeps nothing.
type Store struct{}

// Open returns a session.
func (*Store) Open() (*Session, error) { return &Session{}, nil }

// Close does nothing.
func (*Store) Close(context.Context) error { return nil }

// Keeps is false.
func (*Store) Keeps() bool { return false }

// Session tells the plugin nothing.
type Session struct{}

// Files are none.
func (*Session) Files() []*os.File { return nil }

// Env is empty.
func (*Session) Env(int) []string { return nil }

// Launch returns start, or cmd.Start for nil.
func (*Session) Launch(start func(*exec.Cmd) error) func(*exec.Cmd) error {
	if start == nil {
		return (*exec.Cmd).Start
	}
	return start
}

// Serve has nothing to do.
func (*Session) Serve(context.Context) error { return nil }

// Close does nothing.
func (*Session) Close() (orphans int, err error) { return 0, nil }
