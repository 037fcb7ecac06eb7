package rpc

import (
	"fmt"
	"os"
	"testing"
)

// TestMain makes the test binary the programs that the public suites need.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("SUITES_PROGRAM") {
	case "server":
		err = serveConformance(os.Stdin, os.Stdout)
	case "interop":
		err = runInterop(os.Args[1:])
	default:
		code := m.Run()
		if dir, err := pluginDir(); err == nil && os.Getenv("SUITES_PLUGIN_DIR") == "" {
			_ = os.RemoveAll(dir)
		}
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
