package gateway

import (
	"context"

	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/telemetry"
	"github.com/gaia-go/gaia/sdk/link"
)

// Subsystem is what the gateway needs of a subsystem to forward its calls. All
// fields are required.
type Subsystem struct {
	Name      string
	Gate      *gate.Gate
	Instances Instances
	Metrics   *telemetry.Subsystem
}

// Instances hands out a subsystem's instance. Safe for concurrent use.
type Instances interface {
	// Acquire lends an instance that is ready; the caller releases it when the
	// call is over. While there is none it waits,
	// no longer than the subsystem holds calls and than ctx lives. The error is
	// a gRPC status: Unavailable with RetryInfo and the state of the
	// subsystem, or what became of ctx.
	//
	// lost is the generation of an instance on which the call was lost before,
	// 0 for none; that one is not returned.
	Acquire(ctx context.Context, lost uint64) (Instance, error)

	// TryAcquire is Acquire for who must not wait; nil if there is no instance
	// that is ready.
	TryAcquire() Instance
}

// Instance is one running process of a subsystem, to which calls can be made.
// It may exit at any moment; calls then fail with Unavailable. Safe for
// concurrent use.
type Instance interface {
	grpc.ClientConnInterface // by gRPC, which can do everything

	// Link is for unary calls; nil if the plugin has none.
	Link() *link.Conn
	// Release gives back what Acquire lent.
	Release()
	// Exited is closed once the process has ended.
	Exited() <-chan struct{}
	// Generation is the instance's serial number.
	Generation() uint64
	// Exit says how the process ended, such as "killed by signal 9 after
	// 3.2s". Valid after Exited is closed.
	Exit() string
}
