package supervisor

import (
	"context"

	"github.com/gaia-go/gaia/sdk/wire"
)

// attacher connects to a process that somebody else has started, in place of launch. It
// has neither limits nor a keeper, and no checksum that would say what it is.
func (l launcher) attacher(socket string) func(ctx context.Context, out func(int, []byte)) (*Instance, error) {
	return func(ctx context.Context, out func(int, []byte)) (*Instance, error) {
		ctx, cancel := context.WithTimeout(ctx, attachedReadyTimeout)
		defer cancel()
		process, err := wire.Attach(ctx, socket, out)
		if err != nil {
			return nil, err
		}
		return &Instance{
			ClientConn: process.Conn(),
			process:    process,
			attached:   true,
			executable: &Executable{Path: socket, Script: true}, // asked anew each time what it serves
			tied:       &tied{},
			logger:     l.logger,
			calls:      wire.NewDoor(),
		}, nil
	}
}

// Attached reports whether somebody else has started the process, see Plan.Attach.
func (i *Instance) Attached() bool { return i.attached }

// Detach lets go of an attached process at once, and asks it to end: its calls are lost, or
// made again where that may be done. It does nothing to another one.
func (i *Instance) Detach() {
	if i.attached {
		i.process.Terminate()
		i.process.Kill()
	}
}
