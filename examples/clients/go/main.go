// Command go is a client of a gaia host in Go: a call, many at once, a stream,
// and errors. It calls the file manager of the shipped config:
//
//	go run ./examples/clients/go
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk/client"
)

func main() {
	log.SetFlags(0)
	socket := flag.String("socket", "run/gaia.sock", "socket of the host")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *socket, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run calls the host at a socket and says on out what came of it.
func run(ctx context.Context, socket string, out io.Writer) error {
	conn, err := client.Dial(ctx, socket) // one is enough for a whole program
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way any more
	files := filev1.NewFileManagerClient(conn)

	// Which subsystem is meant need only be said where several serve the service.
	ctx = metadata.AppendToOutgoingContext(ctx, "gaia-subsystem", "file_manager")

	if err := write(ctx, files, out); err != nil {
		return err
	}
	if err := many(ctx, files, out); err != nil {
		return err
	}
	if err := stream(ctx, files, out); err != nil {
		return err
	}
	return fail(ctx, files, out)
}

// write makes one call with a deadline, which counts from here: the host's queues
// are part of it.
func write(ctx context.Context, files filev1.FileManagerClient, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	content := make([]byte, 3<<20)
	response, err := files.WriteFile(ctx, &filev1.WriteFileRequest{Root: "workspace", Path: "clients-go.bin", Content: content})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "wrote %d bytes, etag %s\n", response.GetEntry().GetSize(), response.GetEntry().GetEtag())
	return err
}

// many makes calls at once, over the one connection: what is sent at the same time
// shares writes, and each call costs a few microseconds.
func many(ctx context.Context, files filev1.FileManagerClient, out io.Writer) error {
	const calls = 1000
	ended := make(chan error, calls)
	began := time.Now()
	for range calls {
		go func() {
			ended <- politely(ctx, func() error {
				_, err := files.Stat(ctx, &filev1.StatRequest{Root: "workspace", Path: "clients-go.bin"})
				return err
			})
		}()
	}
	var failed error
	for range calls {
		failed = errors.Join(failed, <-ended)
	}
	if failed != nil {
		return failed
	}
	_, err := fmt.Fprintf(out, "%d calls in %v\n", calls, time.Since(began).Round(time.Millisecond))
	return err
}

// stream reads the file piece by piece. To leave a stream early, cancel its
// context.
func stream(ctx context.Context, files filev1.FileManagerClient, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pieces, err := files.Read(ctx, &filev1.ReadRequest{Root: "workspace", Path: "clients-go.bin"})
	if err != nil {
		return err
	}
	sum, size := sha256.New(), 0
	for {
		piece, err := pieces.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		size += len(piece.GetContent())
		sum.Write(piece.GetContent())
	}
	_, err = fmt.Fprintf(out, "read %d bytes, sha256 %x\n", size, sum.Sum(nil))
	return err
}

// fail shows what an error is: a gRPC status with a code to branch on, a text for
// people, and details.
func fail(ctx context.Context, files filev1.FileManagerClient, out io.Writer) error {
	_, err := files.Stat(ctx, &filev1.StatRequest{Root: "workspace", Path: "no/such/file"})
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("a file that is not there: %w", err)
	}
	_, err = fmt.Fprintf(out, "refused: %s\n", status.Convert(err).Message())
	return err
}

// politely calls, and again when it was told to come back later: a rate, a full
// queue, or an instance that is being started. Nothing else is worth repeating.
func politely(ctx context.Context, call func() error) error {
	for {
		err := call()
		wait, ok := retryAfter(err)
		if !ok {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// retryAfter reports when a call that failed may be made again, if it may.
func retryAfter(err error) (time.Duration, bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}
