package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Configurer is implemented by a service that takes a config{} block. M is a
// pointer to the author's own generated config message.
type Configurer[M proto.Message] interface {
	// Configure puts config into force. The host calls it before it forwards
	// any call; without a config{} block config is an empty message. Faults of
	// single fields are made with Invalid, several of them joined with
	// errors.Join; the host prints them with file and line.
	Configure(ctx context.Context, config M) error
}

// Reconfigurer is implemented by a Configurer that takes another config
// without a new start. Without it the host replaces the process.
type Reconfigurer[M proto.Message] interface {
	// Reconfigure puts config in the place of the one before, with calls in
	// flight. Faults are made as in Configure; then the one before stays in
	// force as a whole.
	Reconfigure(ctx context.Context, config M) error
}

// Exclusive is implemented by a service of which two instances cannot run at
// the same time, because they would need the same port, lock or file. The host
// then ends one before it starts the next, and holds calls meanwhile.
type Exclusive interface {
	// Exclusive is called once, before serving. It does not depend on the
	// config.
	Exclusive() bool
}

// Limited is implemented by a service that knows limits that fit it. What the
// operator writes in config.hcl comes first.
type Limited interface {
	// Limits is called once, before serving.
	Limits() Limits
}

// Limits are those of the limits{} block, for where the operator set none. A
// value of zero says nothing.
type Limits struct {
	Concurrency int           // calls in flight, at most 1,000,000
	Queue       int           // calls that wait for one of these places, at most 1,000,000
	Timeout     time.Duration // of unary calls, 1ms to 24h
}

// Drainer is implemented by a service that has more to finish than its calls.
type Drainer interface {
	// Drain returns when the work in hand is done, or when ctx ends. Calls in
	// flight have ended before, new ones are refused.
	Drain(ctx context.Context) error
}

// Shutdowner is implemented by a service that holds resources. It is not named
// after Close, which is an RPC of many a service.
type Shutdowner interface {
	// Shutdown is called once, when no call is in flight any more and the
	// process is about to end: it is killed when ctx has. It is not called when
	// calls go on although they were cancelled.
	Shutdown(ctx context.Context) error
}

// Gatherer is implemented by a service with metrics of its own. The host
// merges them into its page under a `subsystem` label.
type Gatherer interface {
	// Metrics is called once, before serving. The result is safe for
	// concurrent use.
	Metrics() prometheus.Gatherer
}

// Describer is implemented by a service whose descriptors are better than the
// ones compiled into the program, which lack comments.
type Describer interface {
	// Descriptors returns a serialized google.protobuf.FileDescriptorSet with
	// all imports and source info, as `buf build -o` writes it.
	Descriptors() []byte
}

// FieldError is a fault of one field of a config.
type FieldError struct {
	// Path of the field, such as `profile["github"].base_url` or
	// `rule[2].host`; "" means the config as a whole.
	Path string
	// Problem in one sentence: what is allowed and what to write instead.
	Problem string
}

// Error joins path and problem.
func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Invalid makes a FieldError.
func Invalid(path, format string, args ...any) error {
	return &FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
}

// fieldErrors finds all FieldErrors in the tree of err. A branch without one
// becomes a fault of the whole config.
func fieldErrors(err error) []*FieldError {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*FieldError](err); ok {
		switch e := err.(type) { //nolint:errorlint // the tree is walked by hand, to find more than the first
		case *FieldError:
			return []*FieldError{e}
		case interface{ Unwrap() error }:
			return fieldErrors(e.Unwrap())
		case interface{ Unwrap() []error }:
			var all []*FieldError
			for _, branch := range e.Unwrap() {
				all = append(all, fieldErrors(branch)...)
			}
			return all
		}
	}
	return []*FieldError{{Problem: err.Error()}}
}

// configurer is a Configurer whose message type was found at run time.
type configurer struct {
	message     proto.Message // empty, of the author's type
	configure   configureFunc
	reconfigure configureFunc // nil when the service is no Reconfigurer

	mu         sync.Mutex // one config at a time
	configured bool
}

type configureFunc func(ctx context.Context, config proto.Message) error

// apply puts a config into force, the first or another one.
func (c *configurer) apply(ctx context.Context, config proto.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	apply := c.configure
	if c.configured && c.reconfigure != nil {
		apply = c.reconfigure
	}
	err := apply(ctx, config)
	c.configured = c.configured || err == nil
	return err
}

// findConfigurer looks for a Configure method, and for Reconfigure beside it.
// One of another shape is an error, unless it is an RPC of the service.
func findConfigurer(impl any) (*configurer, error) {
	configure, message, err := findConfigure(impl, "Configure")
	if err != nil || configure == nil {
		return nil, err
	}
	reconfigure, other, err := findConfigure(impl, "Reconfigure")
	if err != nil {
		return nil, err
	}
	if other != nil && other.ProtoReflect().Descriptor() != message.ProtoReflect().Descriptor() {
		return nil, fmt.Errorf("%T.Reconfigure takes a %T, Configure a %T; they take the same config", impl, other, message)
	}
	return &configurer{message: message, configure: configure, reconfigure: reconfigure}, nil
}

// findConfigure looks for one of the two methods and returns it with an empty
// message of its type; nil when there is none.
func findConfigure(impl any, name string) (configureFunc, proto.Message, error) {
	method := reflect.ValueOf(impl).MethodByName(name)
	if !method.IsValid() {
		return nil, nil, nil
	}
	t := method.Type()
	if isRPC(t) {
		return nil, nil, nil
	}
	message := reflect.TypeFor[proto.Message]()
	if t.NumIn() != 2 || t.In(0) != reflect.TypeFor[context.Context]() || !t.In(1).Implements(message) ||
		t.In(1).Kind() != reflect.Pointer || t.NumOut() != 1 || t.Out(0) != reflect.TypeFor[error]() {
		return nil, nil, fmt.Errorf("%T.%s has type %v, want func(context.Context, *YourConfigMessage) error", impl, name, t)
	}
	empty := reflect.Zero(t.In(1)).Interface().(proto.Message).ProtoReflect().New().Interface()
	return func(ctx context.Context, config proto.Message) error {
		result := method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(config)})[0]
		err, _ := reflect.TypeAssert[error](result)
		return err
	}, empty, nil
}

// isRPC reports whether generated code asks for methods of type t: unary ones
// return a message, streaming ones take a stream last.
func isRPC(t reflect.Type) bool {
	if t.NumOut() == 2 {
		return t.Out(0).Implements(reflect.TypeFor[proto.Message]())
	}
	return t.NumIn() > 0 && t.In(t.NumIn()-1).Implements(reflect.TypeFor[grpc.ServerStream]())
}
