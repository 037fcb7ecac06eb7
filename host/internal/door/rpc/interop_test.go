package rpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// interopCases are those of gRPC's own client that need neither TLS nor an
// account at Google.
func interopCases() map[string]func(context.Context, *grpc.ClientConn, ...grpc.CallOption) {
	on := func(run func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, ...grpc.CallOption) {
		return func(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) {
			run(ctx, testpb.NewTestServiceClient(conn), options...)
		}
	}
	return map[string]func(context.Context, *grpc.ClientConn, ...grpc.CallOption){
		"empty_unary":                 on(interop.DoEmptyUnaryCall),
		"large_unary":                 on(interop.DoLargeUnaryCall),
		"client_streaming":            on(interop.DoClientStreaming),
		"server_streaming":            on(interop.DoServerStreaming),
		"ping_pong":                   on(interop.DoPingPong),
		"empty_stream":                on(interop.DoEmptyStream),
		"timeout_on_sleeping_server":  on(interop.DoTimeoutOnSleepingServer),
		"cancel_after_begin":          on(interop.DoCancelAfterBegin),
		"cancel_after_first_response": on(interop.DoCancelAfterFirstResponse),
		"custom_metadata":             on(interop.DoCustomMetadata),
		"status_code_and_message":     on(interop.DoStatusCodeAndMessage),
		"special_status_message":      on(interop.DoSpecialStatusMessage),
		"unimplemented_method": func(ctx context.Context, conn *grpc.ClientConn, _ ...grpc.CallOption) {
			interop.DoUnimplementedMethod(ctx, conn)
		},
		"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn, _ ...grpc.CallOption) {
			interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
		},
	}
}

// bearer adds the token to each call.
type bearer struct{}

func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// runInterop runs all cases against an address. gRPC's client ends the process
// when something is not as it must be; the case is the last one named.
func runInterop(args []string) (err error) {
	if len(args) != 2 {
		return errors.New("want ADDRESS COMPRESSION")
	}
	conn, err := grpc.NewClient(args[0], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var options []grpc.CallOption
	if args[1] == gzip.Name {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	for name, run := range interopCases() {
		fmt.Fprintln(os.Stderr, name)
		run(context.Background(), conn, options...)
	}
	return nil
}

func TestGRPCsInteropCasesPassThroughBothDoors(t *testing.T) {
	h := startHouse(t)
	for _, address := range []string{"unix:" + h.socket, h.http} {
		for _, compression := range []string{"identity", gzip.Name} {
			t.Run(address[:4]+"/"+compression, func(t *testing.T) {
				client := exec.CommandContext(t.Context(), os.Args[0], address, compression)
				client.Env = append(os.Environ(), "SUITES_PROGRAM=interop")
				output, err := client.CombinedOutput()
				if err != nil {
					t.Errorf("%v\n%s", err, output)
				}
				if got, want := strings.Count(string(output), "\n"), len(interopCases()); got < want {
					t.Errorf("got %d lines, want one for each of %d cases:\n%s", got, want, output)
				}
			})
		}
	}
}
