// Package sdk turns ordinary gRPC services into a gaia plugin:
//
//	func main() {
//		sdk.Serve(func(r grpc.ServiceRegistrar) { hellov1.RegisterGreeterServer(r, &greeter{}) })
//	}
//
// The host starts the program, learns from its descriptors what it serves, and
// forwards calls to it. Whatever else a plugin may offer (configuration,
// metrics, an orderly end) is a method that Serve looks for; see Configurer,
// Drainer, Shutdowner, Gatherer and Describer. A call that lasts for as long as
// its caller likes asks UntilDrain when to end.
package sdk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gaia-go/gaia/sdk/wire"
	"google.golang.org/grpc"
)

// Serve is the whole main function of a plugin. register calls the generated
// Register…Server functions, one a service; it is called once, at once. Serve
// then serves until the host asks for the end or dies, lets calls in flight
// finish, shuts the services down and ends the process; it never returns. Errors
// go to standard error, with exit code 1.
func Serve(register func(grpc.ServiceRegistrar)) {
	err := serve(register)
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, wire.ErrNoHost):
		fmt.Fprintf(os.Stderr, "%[1]s is a gaia plugin and is started by the host.\n"+
			"Put it into plugin_dir and name it in config.hcl: subsystem \"x\" { plugin = %[1]q }\n", filepath.Base(os.Args[0]))
	default:
		fmt.Fprintf(os.Stderr, "gaia plugin: %v\n", err)
	}
	os.Exit(1)
}

func serve(register func(grpc.ServiceRegistrar)) error {
	p, err := newPlugin(register)
	if err != nil {
		return err
	}
	nameProcess()
	defer runtime.KeepAlive(ballast())
	if err := p.serveLink(); err != nil {
		return err
	}
	stop := p.endWithHost()
	defer stop()
	err = wire.Serve(wire.ServeConfig{
		Register: p.register,
		Options: []grpc.ServerOption{
			grpc.ChainUnaryInterceptor(p.unary),
			grpc.ChainStreamInterceptor(p.stream),
		},
		Logger: Logger().Named("go-plugin"),
	})
	if errors.Is(err, wire.ErrNoHost) {
		return err
	}
	return errors.Join(err, p.shutdown())
}

// ballast is memory that is never touched, and so takes none. The garbage
// collector lets a heap double before it collects, and a plugin's heap is small: at
// 100,000 calls a second it would collect some hundred times a second, and spend
// half of the plugin's time. With the ballast it waits for this many bytes more.
func ballast() []byte { return make([]byte, 16<<20) }
