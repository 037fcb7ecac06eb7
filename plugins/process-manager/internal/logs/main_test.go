package logs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the processes that the tests start: the variable
// LOGS_TEST says which.
func TestMain(m *testing.M) {
	role, args, _ := strings.Cut(os.Getenv("LOGS_TEST"), " ")
	switch role {
	case "":
		os.Exit(m.Run())
	case "pour":
		pour(args)
	}
}

// self is a command that runs this binary in a role.
func self(t testing.TB, role string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST="+role)
	return cmd
}

// pour writes lines of 100 bytes to its output, so many bytes in all and at once, and
// tells on its standard error how many seconds that took.
func pour(args string) {
	var total, atOnce int
	if _, err := fmt.Sscan(args, &total, &atOnce); err != nil {
		panic(err)
	}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	block := bytes.Repeat(line, atOnce/100+1)[:atOnce]
	began := time.Now()
	for n := 0; n < total; n += atOnce {
		if _, err := os.Stdout.Write(block); err != nil {
			panic(err)
		}
	}
	fmt.Fprint(os.Stderr, strconv.FormatFloat(time.Since(began).Seconds(), 'f', 6, 64))
}
