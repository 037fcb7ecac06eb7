package pool

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	maxSteps = 1000

	// maxResults is how large the results of a Run may be together, bytes.
	maxResults = 64 << 20

	// runTime is how long a Run may take whose call has no deadline.
	runTime = 10 * time.Minute

	// lookTime is how long a page that may be busy or hung may take to say what it
	// is.
	lookTime = time.Second
)

// Run opens a page and takes steps on it. It is repeated after a crash only if no
// step had begun.
func (p *Pool) Run(ctx context.Context, request *browserv1.RunRequest) (*browserv1.RunResponse, error) {
	if err := checkSteps(request.GetSteps()); err != nil {
		return nil, err
	}
	r, err := p.use()
	if err != nil {
		return nil, err
	}
	steps := &course{steps: request.GetSteps(), response: &browserv1.RunResponse{}}
	dir := r.uploads()
	defer func() { _ = os.RemoveAll(dir) }() // what cannot be removed now is at the next start
	j := job{
		url: request.GetUrl(), page: request.GetPage(), limit: runTime, isDone: steps.hasBegun,
		work: func(ctx context.Context, h hand) error {
			h.dir = dir
			return steps.run(ctx, h)
		},
	}
	if j.url == "" && j.page.GetHtml() == "" {
		j.url = "about:blank"
	}
	info, cost, err := p.do(ctx, j)
	steps.response.Cost = cost
	switch {
	case err == nil:
		steps.response.Page = info
	case !steps.hasBegun():
		return nil, err
	}
	return steps.response, nil // the error is of a step, and in its result
}

// checkSteps returns the fault of the first step that has one, before any of them
// is taken.
func checkSteps(steps []*browserv1.Step) error {
	if len(steps) < 1 || len(steps) > maxSteps {
		return invalid("steps", "%d steps, 1 to %d may be", len(steps), maxSteps)
	}
	for i, step := range steps {
		at := fmt.Sprintf("steps[%d].", i)
		name, request := actionOf(step)
		if name == "" {
			return invalid(at+"action", "required: one of navigate, click, fill, …")
		}
		if request.GetSession() != "" {
			return invalid(at+name+".session", "not set in a step: Run has a page of its own")
		}
		if err := page.CheckStep(step, at+name); err != nil {
			return err
		}
	}
	return nil
}

// course is the way through the steps of a Run.
type course struct {
	steps    []*browserv1.Step
	response *browserv1.RunResponse
	size     int // of the results
}

func (c *course) hasBegun() bool { return len(c.response.GetResults()) > 0 }

// run takes the steps until one has an error, which it returns.
func (c *course) run(ctx context.Context, h hand) error {
	info, err := h.look(ctx)
	if err != nil {
		return err
	}
	c.response.Page = info
	for _, step := range c.steps {
		if err := c.step(ctx, h, step); err != nil {
			look, cancel := context.WithTimeout(ctx, lookTime)
			defer cancel()
			if info, gone := h.look(look); gone == nil {
				c.response.Page = info
			}
			return err
		}
	}
	return nil
}

// step takes a step and notes its result.
func (c *course) step(ctx context.Context, h hand, step *browserv1.Step) error {
	begin := time.Now()
	result := &browserv1.StepResult{}
	c.response.Results = append(c.response.Results, result)
	taken, err := h.take(ctx, step)
	if size := proto.Size(taken); err == nil && c.size+size > maxResults {
		err = status.Errorf(codes.ResourceExhausted, "the results would have %d bytes, limit %d", c.size+size, maxResults)
	}
	if err != nil {
		s := status.Convert(err)
		result.Code, result.Message = uint32(s.Code()), s.Message()
	} else {
		c.size += proto.Size(taken)
		result.Result = taken.GetResult()
		if info := pageOf(taken); info != nil {
			c.response.Page = info
		}
	}
	result.Took = durationpb.New(time.Since(begin))
	return err
}
