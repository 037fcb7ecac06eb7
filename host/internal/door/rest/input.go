package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/request"
)

const (
	// maxMessage is the largest message, as JSON or raw, in bytes.
	maxMessage = gateway.MaxMessage
	// pieceSize is how much of a raw body one message of a stream has at most.
	// Streams of files and of HTTP bodies take up to 1 MiB; a quarter of that is
	// as fast here.
	pieceSize = 256 << 10
	// trust is how much memory a length gets that was only announced.
	trust = 1 << 20
)

// input reads the messages of a request.
type input struct {
	method    *method
	parser    request.Parser
	arguments []string // field=value
	length    int64    // of the body; negative if it is not known
	body      *body
	field     *request.BytesField // that the body is; nil: it is JSON

	received int
	large    bool          // a message was over the limit
	values   *json.Decoder // of the body of a stream of JSON
	allowed  *io.LimitedReader
	piece    []byte // room to read into
}

func newInput(w http.ResponseWriter, r *http.Request, s *subsystem, m *method, arguments []string) *input {
	in := &input{
		method: m, parser: request.Parser{Types: s.types}, arguments: arguments, length: r.ContentLength,
		body: &body{reader: r.Body, control: http.NewResponseController(w)},
	}
	in.body.ended.Store(r.Body == http.NoBody)
	return in
}

// next returns the next message, encoded, and io.EOF after the last one.
func (in *input) next(ctx context.Context) ([]byte, error) {
	in.body.share.Close() // the message before is on its way
	message, err := in.read()
	if err == nil {
		_ = in.body.share.Hold(len(message)) // which is less than what it was made of
		in.received++
		return message, nil
	}
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	return nil, in.explain(ctx, err)
}

func (in *input) read() ([]byte, error) {
	switch {
	case in.method.ClientStreams && in.field != nil:
		return in.nextPiece()
	case in.method.ClientStreams:
		return in.nextValue()
	case in.received > 0:
		return nil, io.EOF
	case in.field != nil:
		return in.whole()
	}
	raw, err := in.readAll()
	if err != nil {
		return nil, err
	}
	return in.encode(raw)
}

// encode makes the message that JSON and the query describe. Empty JSON is a
// message without anything.
func (in *input) encode(raw []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(in.method.Descriptor.Input())
	if len(bytes.TrimSpace(raw)) > 0 {
		err := in.body.share.Add(request.ParsedSize(raw))
		if err != nil {
			return nil, err
		}
		if m, err = in.parser.ParseJSON(in.method.Descriptor.Input(), raw); err != nil {
			return nil, err
		}
	}
	if err := in.addArguments(m); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{AllowPartial: true}.Marshal(m) // the parser has checked
}

// addArguments adds what the query says, once.
func (in *input) addArguments(m *dynamicpb.Message) error {
	if len(in.arguments) == 0 {
		return nil
	}
	more, err := in.parser.Parse(in.method.Descriptor.Input(), in.arguments)
	if err != nil {
		return err
	}
	in.arguments = nil
	return request.Merge(m, more)
}

// whole is the only message, of which the body is a field.
func (in *input) whole() ([]byte, error) {
	m := dynamicpb.NewMessage(in.method.Descriptor.Input())
	if err := in.addArguments(m); err != nil {
		return nil, err
	}
	if taken := in.field.Taken(m); taken != "" {
		return nil, &request.Error{Path: taken, Problem: "cannot be given beside a raw body, which is " + in.field.Path}
	}
	message, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	content, length := io.Reader(in.body), in.length
	if length < 0 {
		all, err := in.readAll()
		if err != nil {
			return nil, err
		}
		content, length = bytes.NewReader(all), int64(len(all))
	}
	if length > maxMessage {
		return nil, &http.MaxBytesError{Limit: maxMessage}
	}
	b := bytes.NewBuffer(in.field.AppendHead(message, int(length)))
	b.Grow(int(min(length, trust)) + bytes.MinRead)
	_, err = b.ReadFrom(content)
	return b.Bytes(), err
}

// readAll reads the body.
func (in *input) readAll() ([]byte, error) {
	switch {
	case in.body.ended.Load():
		return nil, nil
	case in.length > maxMessage:
		return nil, &http.MaxBytesError{Limit: maxMessage}
	}
	var b bytes.Buffer
	b.Grow(int(min(max(in.length, 0), trust)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(in.body, maxMessage+1))
	if n > maxMessage {
		return nil, &http.MaxBytesError{Limit: maxMessage}
	}
	return b.Bytes(), err
}

// nextValue is the next message of a stream of JSON values. What the query
// says belongs to the first one.
func (in *input) nextValue() ([]byte, error) {
	if in.values == nil {
		in.allowed = &io.LimitedReader{R: in.body}
		in.values = json.NewDecoder(in.allowed)
	}
	in.allowed.N = maxMessage
	var raw json.RawMessage
	err := in.values.Decode(&raw)
	switch {
	case err == nil:
		return in.encode(raw)
	case in.allowed.N <= 0:
		return nil, &http.MaxBytesError{Limit: maxMessage}
	case in.body.failed() != nil:
		return nil, in.body.failed()
	case errors.Is(err, io.EOF) && len(in.arguments) > 0:
		return in.encode(nil)
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	}
	return nil, &request.Error{Problem: err.Error()}
}

// nextPiece is the next message of a stream of which the body is a field: first
// one with what the query says, then the body as it comes.
func (in *input) nextPiece() ([]byte, error) {
	if len(in.arguments) > 0 {
		return in.encode(nil)
	}
	if in.piece == nil {
		in.piece = make([]byte, pieceSize)
	}
	for {
		n, err := in.body.Read(in.piece)
		if n > 0 {
			return append(in.field.AppendHead(make([]byte, 0, n+headRoom), n), in.piece[:n]...), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// headRoom is enough for what is before a piece.
const headRoom = request.MaxBytesDepth * 10

// explain turns the error of a request into what the caller is told.
func (in *input) explain(ctx context.Context, err error) error {
	var large *http.MaxBytesError
	var wrong *request.Error
	switch {
	case errors.As(err, &wrong):
		return in.invalid(wrong)
	case errors.As(err, &large):
		in.large = true
		return status.Errorf(codes.ResourceExhausted, "the request is larger than %d bytes, the limit for one message: send it in parts, by a method that takes a stream", large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded) && in.body.isLate():
		return status.Errorf(codes.DeadlineExceeded, "the request's body has not come within %v", patience)
	case status.Code(err) == codes.ResourceExhausted: // of the memory for all
		return err
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Errorf(codes.Canceled, "the request's body broke off: %v", err)
}

// invalid says what is wrong with a message, and with which of several.
func (in *input) invalid(wrong *request.Error) error {
	text := wrong.Error()
	if in.method.ClientStreams {
		text = "message " + strconv.Itoa(in.received+1) + ": " + text
	}
	if wrong.Hint != "" {
		text += "; " + wrong.Hint
	}
	s := status.New(codes.InvalidArgument, text)
	detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: wrong.Path, Description: wrong.Problem},
	}})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}
