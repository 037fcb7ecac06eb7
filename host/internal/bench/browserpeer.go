package bench

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

//go:embed puppeteer.mjs
var puppeteerScript string

const (
	puppeteer = "puppeteer-cluster"

	// puppeteerHome names a directory whose node_modules have it.
	puppeteerHome = "GAIA_PUPPETEER_CLUSTER"

	// puppeteerAbsent is the row where it is not.
	puppeteerAbsent = puppeteer + ": not here. npm install --legacy-peer-deps --prefix DIR puppeteer-core " + puppeteer + "; export " + puppeteerHome + "=DIR"
)

// cluster is a running puppeteer-cluster.
type cluster struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

// puppeteerDirectory is where Node finds puppeteer-cluster; without it there is
// an error.
func puppeteerDirectory(ctx context.Context) (string, error) {
	directory := cmp.Or(os.Getenv(puppeteerHome), ".")
	const find = `const r = require('module').createRequire(process.argv[1] + '/script.js'); r.resolve('puppeteer-cluster'); r.resolve('puppeteer-core')`
	return directory, exec.CommandContext(ctx, "node", "-e", find, directory).Run() //nolint:gosec // G204: a directory that the user names
}

// launchCluster starts puppeteer-cluster with a browser and so many callers. The
// caller closes it.
func launchCluster(ctx context.Context, directory, browser, url string, callers int) (*cluster, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "node", "--input-type=module", "-e", puppeteerScript, //nolint:gosec // G204: as above
		directory, browser, strconv.Itoa(callers), url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its browser
	cmd.Stderr = io.Discard
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &cluster{cmd: cmd, orders: orders, answers: bufio.NewReader(answers)}, nil
}

// load lets its callers open pages for a while, and each of them one at least.
func (c *cluster) load(ctx context.Context, length time.Duration) (*browserLoad, error) {
	// What does not answer is ended, and read to its end.
	ctx, cancel := context.WithTimeout(ctx, length+callPatience)
	defer cancel()
	defer context.AfterFunc(ctx, c.kill)()
	if _, err := fmt.Fprintln(c.orders, length.Milliseconds()); err != nil {
		return nil, err
	}
	line, err := c.answers.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s gives no answer: %w", puppeteer, cmp.Or(ctx.Err(), err))
	}
	var answer struct {
		Took    float64   `json:"took_ms"`
		Samples []float64 `json:"samples_ms"`
		Failed  int       `json:"failed"`
		Reason  string    `json:"reason"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", puppeteer, err)
	}
	l := &browserLoad{took: ofMilliseconds(answer.Took), failed: answer.Failed}
	if answer.Reason != "" {
		l.reason = errors.New(answer.Reason)
	}
	for _, sample := range answer.Samples {
		l.samples = append(l.samples, ofMilliseconds(sample))
	}
	return l, nil
}

func ofMilliseconds(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// kill ends it with its browser, which has a group of its own.
func (c *cluster) kill() {
	for _, browser := range browsers(c.cmd.Process.Pid) {
		_ = syscall.Kill(-browser, syscall.SIGKILL) // it may have ended
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // as above
}

// close ends it, and waits until it has: gently, so that its profile goes, too.
func (c *cluster) close() {
	defer time.AfterFunc(callPatience, c.kill).Stop()
	_ = c.orders.Close()                  // then it closes its browser
	_, _ = io.Copy(io.Discard, c.answers) // until its end
	_ = c.cmd.Wait()                      // with whatever code
}
