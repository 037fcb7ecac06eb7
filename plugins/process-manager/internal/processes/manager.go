// Package processes starts, supervises and ends processes and keeps what they
// write: it is the service gaia.process.v1.ProcessManager.
package processes

import (
	"context"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
)

// Manager is the service. It is safe for concurrent use.
type Manager struct {
	processv1.UnimplementedProcessManagerServer
}

// New returns a manager that may start nothing. The caller closes it.
func New() *Manager { return new(Manager) }

// Configure takes the commands that may be started.
func (m *Manager) Configure(_ context.Context, _ *processv1.Config) error { return nil }
