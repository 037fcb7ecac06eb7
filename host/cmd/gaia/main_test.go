package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary the gaia command, and the plugins of the
// fleet, when it is called by their names.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite what the scripts in testdata expect")
	commands := fleet()
	commands["gaia"] = main
	testscript.Main(tidy{m}, commands)
}

// binEnv is the directory into which binaries builds.
const binEnv = "GAIA_TEST_BIN"

// tidy runs the tests and removes what was built for them, some 200 MB.
type tidy struct{ *testing.M }

// Run implements testscript.TestingM.
func (m tidy) Run() int {
	dir, err := os.MkdirTemp("", "gaia-bin")
	if err == nil {
		defer os.RemoveAll(dir) //nolint:errcheck // of a directory for temporary files
		err = os.Setenv(binEnv, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// TestScripts runs the sessions in testdata/script, which need no running
// host.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               showFleet,
		UpdateScripts:       flag.Lookup("update").Value.String() == "true",
		Cmds:                map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// showFleet tells a script where the plugins of the fleet are.
func showFleet(env *testscript.Env) error {
	echo, err := exec.LookPath("fleet-echo") // TestMain put it there
	env.Setenv("FLEET", filepath.Dir(echo))
	return err
}

// exits is `exits CODE COMMAND...`: exec for a certain exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
