// Package files works on files below configured roots: it is the service
// gaia.file.v1.FileManager.
package files

import (
	"context"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

// Manager is the service. It is safe for concurrent use.
type Manager struct {
	filev1.UnimplementedFileManagerServer
}

// New returns a manager without roots. The caller closes it.
func New() *Manager { return new(Manager) }

// Configure opens the roots.
func (m *Manager) Configure(_ context.Context, _ *filev1.Config) error { return nil }
