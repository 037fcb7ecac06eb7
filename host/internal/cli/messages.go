package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// messages is what a call sends.
type messages struct {
	// next returns the messages one by one, then io.EOF.
	next func() (*dynamicpb.Message, error)

	// close ends a next that waits for input, from any goroutine. It may be
	// called more than once.
	close func()
}

// requests returns what the command line gives m to send.
func (c *command) requests(
	ctx context.Context, d *described, m protoreflect.MethodDescriptor, args []string, o callOptions,
) (messages, error) {
	stdin := c.stdin(ctx)
	parser := request.Parser{Types: d.types, ReadFile: os.ReadFile, Stdin: stdin}
	if o.json == "" {
		message, err := parser.Parse(m.Input(), args)
		return single(message), err
	}
	input, from := stdin, c.Stdin
	if o.json != "-" {
		file, err := os.Open(o.json)
		if err != nil {
			return messages{}, fmt.Errorf("--json: %w", err)
		}
		input, from = file, file
	}
	c.progress.Total(fileBytes(from))
	input = c.progress.Reader(input)
	closeInput := func() { _ = input.Close() }
	if m.IsStreamingClient() {
		return messages{jsonStream(parser, m.Input(), input), closeInput}, nil
	}
	defer closeInput()
	raw, err := io.ReadAll(input)
	if err != nil {
		return messages{}, fmt.Errorf("--json %s: %w", o.json, err)
	}
	message, err := parser.ParseJSON(m.Input(), raw)
	return single(message), err
}

// fileBytes is the size of a regular file, 0 of anything else.
func fileBytes(from io.Reader) int64 {
	file, ok := from.(*os.File)
	if !ok {
		return 0
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// single is one message.
func single(message *dynamicpb.Message) messages {
	sent := false
	return messages{
		next: func() (*dynamicpb.Message, error) {
			if sent {
				return nil, io.EOF
			}
			sent = true
			return message, nil
		},
		close: func() {},
	}
}

// jsonStream returns one message of type md for each JSON value of input.
func jsonStream(parser request.Parser, md protoreflect.MessageDescriptor, input io.Reader) func() (*dynamicpb.Message, error) {
	decoder := json.NewDecoder(input)
	count := 0
	return func() (*dynamicpb.Message, error) {
		raw, err := nextJSON(decoder)
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		count++
		var message *dynamicpb.Message
		if err == nil {
			message, err = parser.ParseJSON(md, raw)
		}
		if err != nil {
			return nil, fmt.Errorf("message %d of the request: %w", count, err)
		}
		return message, nil
	}
}

// nextJSON tells input that is no JSON from input that cannot be read.
func nextJSON(decoder *json.Decoder) (json.RawMessage, error) {
	var (
		raw    json.RawMessage
		syntax *json.SyntaxError
	)
	err := decoder.Decode(&raw)
	if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &request.Error{Problem: err.Error()}
	}
	return raw, err
}
