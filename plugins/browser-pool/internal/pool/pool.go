// Package pool is the service gaia.browser.v1.BrowserPool.
package pool

import (
	"context"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// Pool is the service. It is safe for concurrent use.
type Pool struct {
	browserv1.UnimplementedBrowserPoolServer
}

// New returns a pool with the default configuration. The caller closes it.
func New() *Pool { return &Pool{} }

// Configure puts config into force.
func (p *Pool) Configure(context.Context, *browserv1.Config) error { return nil }
