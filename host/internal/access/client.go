package access

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// policyAllow is under what name calls are counted that a client may not make.
const policyAllow = "allow"

// errorDomain is the ErrorInfo.domain of refusals.
const errorDomain = "gaia"

// Client is who has credentials, as one config has it. Immutable, but for what
// it shares with the clients of that name in the configs before and after. Safe
// for concurrent use.
type Client struct {
	Name string

	token       config.Token
	certificate string
	allow       []config.Permission
	everything  bool   // whatever allow says: the host's own token
	rule        string // "config.hcl:12", where the block is
	clients     *Clients

	// Of all clients of that name.
	gate      *gate.Gate
	inquiries *gate.Gate // of reflection and health: a client that looks around does not use up its rate
	metrics   *telemetry.Client
	flights   *flights
}

// Allows reports whether the client may call a method ("/pkg.Service/Method") of
// a subsystem.
func (c *Client) Allows(subsystem, method string) bool {
	if c.everything || subsystem == "" {
		return true
	}
	method = lastPart(method)
	return slices.ContainsFunc(c.allow, func(p config.Permission) bool { return p.Allows(subsystem, method) })
}

// permit is Allows with an error that says where it is forbidden.
func (c *Client) permit(call *Call) error {
	if c.Allows(call.Subsystem, call.Method) {
		return nil
	}
	asked := call.Subsystem + "." + lastPart(call.Method)
	text := fmt.Sprintf("client %q may not call %s, by its block at %s; add %q to allow there and reload", c.Name, asked, c.rule, asked)
	st, err := status.New(codes.PermissionDenied, text).WithDetails(&errdetails.ErrorInfo{
		Reason: "NOT_ALLOWED", Domain: errorDomain,
		Metadata: map[string]string{"policy": policyAllow, "client": c.Name, "asked": asked, "rule": c.rule},
	})
	if err != nil { // the details cannot be encoded; the text says the same
		return status.Error(codes.PermissionDenied, text)
	}
	return st.Err()
}

// named puts the client's name before what its gate says, and keeps the
// details.
func (c *Client) named(err error) error {
	p := status.Convert(err).Proto()
	p.Message = fmt.Sprintf("client %q: %s", c.Name, p.GetMessage())
	return status.ErrorProto(p)
}

func lastPart(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

// ruleOf is where a client's block is.
func ruleOf(c *config.Client) string {
	file, line, ok := c.Source("")
	if !ok {
		return "the config"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}

// maxInquiries is how many calls of reflection and health of one client may be
// open: some per connection, of which there are few.
const maxInquiries = 100

// maxCalls is how many calls of a client may be open whose block says nothing of
// that. Each costs a goroutine from the moment it is announced, though its request may
// never come: without a bound one client could take all of the host's memory.
const maxCalls = 10_000

// passes is the gate that a call has to pass.
func (c *Client) passes(call *Call) *gate.Gate {
	if call.Subsystem == "" {
		return c.inquiries
	}
	return c.gate
}

// gateConfig is what a client's own gate holds it to.
func gateConfig(c *config.Client) gate.Config {
	g := gate.Config{Limits: gate.Limits{
		Timeout: c.Limits.Timeout, Concurrency: cmp.Or(c.Limits.Concurrency, maxCalls), Queue: c.Limits.Queue,
	}}
	if c.Rate.Limit.Events > 0 {
		g.Rates = []gate.Rate{{
			Quota: gate.Quota{Events: c.Rate.Limit.Events, Per: c.Rate.Limit.Per, Burst: c.Rate.Burst},
			Wait:  c.Rate.Wait,
		}}
	}
	return g
}
