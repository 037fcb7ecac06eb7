package processes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync/atomic"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/protobuf/proto"
)

// The names that the keeper has: of a process, with its state, its pidfd and what
// it writes to; of its standard input, which ends when nobody has it; and of what
// the groups of all are known by.
const (
	keptForest  = "forest"
	keptProcess = "process/"
	keptInput   = "stdin/"
)

// state is what the next instance has to know of a process.
type state struct {
	Request  []byte // a StartRequest
	Machine  life.Machine
	Pid      int
	LogDir   string
	LogStart int64 // where the log was at its start
}

// maxRequest is how large a StartRequest may be, in bytes: with the rest of the
// state it has to find room in the keeper's 64 KiB.
const maxRequest = 40 << 10

// kept is what the keeper has of a process at present.
type kept struct {
	data  []byte
	files bool // of the child
	input bool
}

// keeper is the host's, or none.
type keeper struct{ missing atomic.Bool }

func (k *keeper) works() bool { return !k.missing.Load() }

// seen notes that there is no keeper, which is no error.
func (k *keeper) seen(err error) error {
	if errors.Is(err, sdk.ErrKeepUnavailable) {
		k.missing.Store(true)
		return nil
	}
	return err
}

func (p *process) state(machine life.Machine, c *child) ([]byte, error) {
	// In one order always: what has not changed need not be kept again.
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.request)
	if err != nil {
		return nil, err
	}
	s := state{Request: request, Machine: machine, LogDir: p.logDir}
	if c != nil {
		s.Pid, s.LogStart = c.pid, c.logStart
	}
	return json.Marshal(s)
}

// keepChild gives a child that was just started to the keeper, together with the
// state in which it runs. After an error the child must not live.
func (p *process) keepChild(machine life.Machine, c *child) error {
	if !p.manager.keeper.works() {
		return nil
	}
	data, err := p.state(machine, c)
	if err != nil {
		return err
	}
	if c.input != nil && c.terminal == nil {
		err = sdk.Keep(keptInput+p.name, nil, c.input.file)
		p.kept.input = err == nil
	}
	if err == nil {
		err = sdk.Keep(keptProcess+p.name, data, c.files()...)
	}
	if err == nil {
		p.kept.data, p.kept.files = data, true
	}
	return p.manager.keeper.seen(err)
}

// files are what outlives this instance.
func (c *child) files() []*os.File {
	if c.buffer.Reader == nil {
		return []*os.File{c.pidfd, c.output}
	}
	return []*os.File{c.pidfd, c.output, c.buffer.Reader, c.buffer.Writer}
}

// persist lets the keeper have a state, and no files of a child that has ended.
func (p *process) persist(ctx context.Context, machine life.Machine) {
	if err := p.keepState(machine); err != nil && ctx.Err() == nil {
		sdk.Logger().Error("state not kept; a crash of the plugin would bring back an earlier one", "process", p.name, "err", err)
	}
}

func (p *process) keepState(machine life.Machine) error {
	if !p.manager.keeper.works() {
		return nil
	}
	data, err := p.state(machine, p.child)
	if err != nil {
		return err
	}
	if p.kept.input && (p.child == nil || p.child.input.isClosed()) {
		err = sdk.Forget(keptInput + p.name)
		p.kept.input = false
	}
	if holds := p.child != nil; p.kept.data == nil || holds != p.kept.files {
		err = errors.Join(err, sdk.Keep(keptProcess+p.name, data))
		p.kept.files = false
	} else if !bytes.Equal(data, p.kept.data) {
		err = errors.Join(err, sdk.KeepData(keptProcess+p.name, data))
	}
	if err == nil {
		p.kept.data = data
	}
	return p.manager.keeper.seen(err)
}

// forgetKept takes all of a process away from the keeper.
func (m *Manager) forgetKept(name string) error {
	if !m.keeper.works() {
		return nil
	}
	return m.keeper.seen(errors.Join(sdk.Forget(keptInput+name), sdk.Forget(keptProcess+name)))
}
