package rest

import (
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// output writes an answer. Its methods are called by one goroutine at a time.
type output interface {
	// begin tells that the plugin has begun to answer.
	begin() error
	send(message []byte) error
	// end finishes the answer of a call that ended with err, or nil.
	end(err error)
}

// answer is what all outputs have.
type answer struct {
	w         http.ResponseWriter
	subsystem *subsystem
	method    *method
	in        *input // of the request
}

// json is a message as JSON in one line.
func (a *answer) json(message []byte) ([]byte, error) {
	m, err := a.decode(message)
	if err != nil {
		return nil, err
	}
	line, err := request.AppendJSON(nil, m, a.subsystem.types)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "the answer cannot be written as JSON: %v", err)
	}
	return append(line, '\n'), nil
}

func (a *answer) decode(message []byte) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(a.method.Descriptor.Output())
	if err := (proto.UnmarshalOptions{Resolver: a.subsystem.types, AllowPartial: true}).Unmarshal(message, m); err != nil {
		return nil, status.Errorf(codes.Internal, "the plugin's answer is no %s: %v", m.Descriptor().FullName(), err)
	}
	return m, nil
}

// fail answers a call that came to nothing.
func (a *answer) fail(err error) {
	code := httpStatus(status.Code(err))
	if a.in.large { // it is of no use to try again later
		code = http.StatusRequestEntityTooLarge
	}
	writeErrorAs(a.w, code, err, a.subsystem.types)
}

// write sends the whole of an answer within the patience.
func (a *answer) write(contentType string, body []byte) {
	control := http.NewResponseController(a.w)
	_ = control.SetWriteDeadline(time.Now().Add(patience)) // where there are none, others have them
	writeBody(a.w, http.StatusOK, contentType, body)
	_ = control.SetWriteDeadline(time.Time{})
}

// gone is the error of an answer that cannot be written.
func gone(err error) error { return status.Errorf(codes.Canceled, "the caller is gone: %v", err) }

// object is the answer with one message, as JSON.
type object struct {
	answer

	body []byte
}

func (o *object) begin() error { return nil }

func (o *object) send(message []byte) (err error) {
	o.body, err = o.json(message)
	return err
}

func (o *object) end(err error) {
	if err != nil {
		o.fail(err)
		return
	}
	o.write(contentJSON, o.body)
}

// lines is an answer of many messages, as JSON, one a line. An error behind the
// first one is the last line, and in the trailers.
type lines struct {
	answer

	begun bool
}

func (l *lines) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	l.w.Header().Set("Content-Type", contentLines)
	l.w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	l.w.WriteHeader(http.StatusOK)
	return l.flush()
}

func (l *lines) flush() error {
	if err := http.NewResponseController(l.w).Flush(); err != nil {
		return gone(err)
	}
	return nil
}

func (l *lines) send(message []byte) error {
	line, err := l.json(message)
	if err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return err
	}
	return l.line(line)
}

func (l *lines) line(line []byte) error {
	if _, err := l.w.Write(line); err != nil {
		return gone(err)
	}
	return l.flush()
}

func (l *lines) end(err error) {
	if err != nil && !l.begun {
		l.fail(err)
		return
	}
	_ = l.begin() // and if the caller is gone, nobody reads on
	if err != nil {
		last, _ := marshalJSON(struct { // of JSON, which cannot fail
			Error errorBody `json:"error"`
		}{bodyOf(err, l.subsystem.types)})
		_ = l.line(last)
		l.w.Header().Set("Grpc-Message", percentEncoded(status.Convert(err).Message()))
	}
	l.w.Header().Set("Grpc-Status", strconv.Itoa(int(status.Code(err))))
}
