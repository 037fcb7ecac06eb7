package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/progress"
	"github.com/gaia-go/gaia/host/internal/request"
)

// subsystemHeader names the subsystem that a call is for.
const subsystemHeader = "gaia-subsystem"

// callOptions are the flags of `gaia call`.
type callOptions struct {
	json     string // file of the request, "-" for standard input, "" for none
	output   string // file for the content of the answer, "-" for standard output, "" to print all
	field    string // of the answer that output is of; "" for the only one
	timeout  time.Duration
	describe bool
}

func (c *command) callCommand() *cobra.Command {
	var o callOptions
	cmd := &cobra.Command{
		Use:   "call SUBSYSTEM.METHOD [FIELD=VALUE...]",
		Short: "Call a method of a subsystem",
		Long: `call sends one request through the host and prints the answer as JSON.

FIELD=VALUE sets a field of the request. Dots lead into messages and maps
(spec.command=echo, headers.X-Trace=abc), a repeated field is given once per
element. @FILE and @- stand for the content of a file or of standard input
(@@ is a literal @). Messages are JSON, durations like 5s, timestamps as in
RFC 3339, sizes like 64MiB, enums by name.

With --json FILE the request is JSON instead, and for a method that takes a
stream, one JSON value for each message. Streams are printed as one line per
message, as they arrive.

With --output FILE the content of the answer, its one field of bytes, goes into
a file as it is, and that of a stream one message after the other. The file
appears when all of it has come; the rest of the answer is printed.

Without METHOD the methods of the subsystem are listed.`,
		Example: `  gaia call api_client_pool.Do url=http://localhost:8080/ headers.Accept=text/html
  gaia call api_client_pool.Do method=PUT url=http://localhost:8080/a body=@a.txt
  gaia call browser_pool.Screenshot url=https://example.com/ -o page.png
  echo '{"url":"http://localhost:8080/"}' | gaia call api_client_pool.Do --json -
  gaia call api_client_pool
  gaia call api_client_pool.Do --describe`,
		ValidArgsFunction: c.completeCall,
		Args:              takes(1, maxArguments, "SUBSYSTEM.METHOD"),
	}
	cmd.Flags().StringVar(&o.json, "json", "", "take the request from a `FILE` of JSON, - for standard input")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write the answer's content into a `FILE`, - for standard output")
	cmd.Flags().StringVar(&o.field, "field", "", "the `FIELD` of the answer that --output writes, where it has several of bytes")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this `TIME`, such as 5s; 0 leaves it to the host")
	cmd.Flags().BoolVar(&o.describe, "describe", false, "print the fields of the request instead of calling")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case o.json != "" && len(args) > 1:
			return usageError(cmd, "the request is given twice: by --json and by %q", args[1])
		case o.field != "" && o.output == "":
			return usageError(cmd, "--field says what --output writes, and there is none")
		case o.timeout < 0:
			return usageError(cmd, "--timeout %s is negative", o.timeout)
		}
		return c.call(cmd.Context(), args[0], args[1:], o)
	}
	return cmd
}

// maxArguments is more than any kernel passes on.
const maxArguments = 1 << 30

// call makes the call within its timeout, which is for all of it: for the
// question what the plugin serves as well as for the answer.
func (c *command) call(ctx context.Context, target string, args []string, o callOptions) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	h, err := c.connect(ctx)
	if err != nil {
		return explain(err, nil, o.timeout)
	}
	defer h.Close()
	subsystem, name, hasMethod := strings.Cut(target, ".")
	d, err := h.describe(ctx, subsystem)
	if err != nil {
		return explain(err, nil, o.timeout)
	}
	switch {
	case !hasMethod && (len(args) > 0 || o.json != ""):
		return noMethodNamed(subsystem)
	case !hasMethod:
		return c.printMethods(d, subsystem)
	}
	m, err := d.method(subsystem, name)
	if err != nil {
		return err
	}
	if o.describe {
		return c.printRequest(m)
	}

	defer c.watch(target, m, args, o)()
	messages, err := c.requests(ctx, d, m, args, o)
	if err != nil {
		return err
	}
	defer messages.close()
	answer, err := c.answers(m, d.types, o)
	if err != nil {
		return err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, subsystemHeader, subsystem)
	return explain(answer.close(exchange(ctx, h, m, messages, answer.take)), d.types, o.timeout)
}

// watch shows how far a call is, until stop, to who waits at a terminal: not if
// he types the request himself, and not between the messages of a stream that
// are printed there.
func (c *command) watch(target string, m protoreflect.MethodDescriptor, args []string, o callOptions) (stop func()) {
	typed := (o.json == "-" || slices.ContainsFunc(args, func(arg string) bool { return strings.HasSuffix(arg, "=@-") })) && isTerminal(c.Stdin)
	streamed := m.IsStreamingServer() && isTerminal(c.Stdout) && (o.output == "" || o.output == "-")
	if !isTerminal(c.Stderr) || typed || streamed {
		return func() {}
	}
	c.progress = progress.Start(c.Stderr, target)
	return func() {
		c.progress.Stop()
		c.progress = nil
	}
}

// usage is the error of a command line that is right for some other method.
func usage(format string, args ...any) *failure {
	f := failed(format, args...)
	f.code = exitUsage
	return f
}

// noMethodNamed refuses a request that is for nobody.
func noMethodNamed(subsystem string) error {
	return usage("%q names a subsystem and none of its methods", subsystem).hint("gaia call %s lists them", subsystem)
}

// explain turns the error of a call into what a user is told. types, which may
// be nil, knows the details that only the plugin defines.
func explain(err error, types request.Resolver, timeout time.Duration) error {
	if err == nil || isCancelled(err) {
		return err
	}
	if timeout > 0 && (status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded)) {
		return failed("no answer within %s (%s)", timeout, codes.DeadlineExceeded).hint("--timeout 1m would wait longer")
	}
	if s, ok := status.FromError(err); ok {
		return describeStatus(s, types)
	}
	return err
}
