// Command gaia runs a host of crash-isolated plugins, and talks to one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gaia-go/gaia/host/internal/cli"
)

// version of this build, set by the linker (-X main.version=v1.4.0).
var version string

func main() {
	ctx, interrupt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // none of the two that count is lost
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		interrupt()
		<-signals
		os.Exit(130) // the second signal does not wait for anybody
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Env{
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Getenv:  os.Getenv,
		Version: version,
	}))
}
