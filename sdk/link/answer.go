package link

import (
	"errors"
	"math"
	"strings"
	"unicode/utf8"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Reach is how far a call got.
type Reach uint8

const (
	// Answered calls were ended by the other end.
	Answered Reach = iota
	// Unreached calls provably never got to the other end.
	Unreached
	// Lost calls were with the other end when the connection broke.
	Lost
	// GivenUp calls were cancelled, or ran out of time, at this end.
	GivenUp
)

// Answer is how a call ended, or a part of an answer that comes in several.
// Its bytes are valid until who got it returns.
type Answer struct {
	// Code is OK, or why there is no message. One that gRPC does not define and
	// that has more than 16 bits is Unknown here; the status has it as it is.
	Code codes.Code
	// Reach says who ended the call.
	Reach Reach
	// Refused says that the other end has not begun the call, and will take no
	// other.
	Refused bool
	// Part says that Payload continues the one of the answer before.
	Part bool
	// More says that parts follow. They come as the receiver gives credit.
	More bool
	// Total is how many bytes all parts will have, in the first of them.
	Total int
	// Header and Trailer are encoded metadata, see DecodeMetadata.
	Header, Trailer []byte
	// Payload is the encoded message or, if Code is not OK, google.rpc.Status.
	Payload []byte
	// Batch is of the reader that calls; nil for another goroutine.
	Batch *Batch
}

func (a *Answer) flags() (flags uint8) {
	if a.More {
		flags |= flagMore
	}
	if a.Refused {
		flags |= flagRefused
	}
	return flags
}

// Err is the status of the answer as an error of package status; nil for OK.
func (a *Answer) Err() error {
	if a.Code == codes.OK {
		return nil
	}
	p := new(spb.Status)
	if err := proto.Unmarshal(a.Payload, p); err != nil || p.GetCode() == 0 {
		return status.Error(a.Code, "the status of the answer is unreadable")
	}
	return status.FromProto(p).Err()
}

func (a *Answer) isLarge() bool { return a.Code == codes.OK && len(a.Payload) > MaxPayload }

// SetErr makes an error the whole answer: its status, with details. One that
// does not fit in a frame is cut short.
func (a *Answer) SetErr(err error) {
	p := statusOf(err).Proto()
	p.Message = validUTF8(p.GetMessage())
	a.Code, a.More = codes.Code(p.GetCode()), false //nolint:gosec // G115: as gRPC does
	a.Payload, err = proto.Marshal(p)
	if err == nil && len(a.Payload) <= MaxPayload {
		return
	}
	text := p.GetMessage()
	text = strings.ToValidUTF8(text[:min(len(text), MaxPayload/2)], "")
	a.Payload, _ = proto.Marshal(&spb.Status{Code: p.GetCode(), Message: text + "… (shortened)"}) // a valid string
}

// validUTF8 replaces each byte that is not UTF-8, as gRPC does.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

// statusOf is the status that gRPC's servers make of a handler's error.
func statusOf(err error) *status.Status {
	st, ok := status.FromError(err)
	if !ok {
		return status.FromContextError(err)
	}
	if st.Code() == codes.OK {
		return status.New(codes.Internal, "handler returned error with status code OK")
	}
	return st
}

func number(c codes.Code) uint16 {
	if c > math.MaxUint16 {
		return uint16(codes.Unknown)
	}
	return uint16(c)
}

func code(number uint16) codes.Code { return codes.Code(number) }

// ended is an answer that was made at this end.
func ended(reach Reach, err error, b *Batch) *Answer {
	a := &Answer{Reach: reach, Batch: b}
	a.SetErr(err)
	return a
}

// Error is the error of a call that the other end did not answer, or refused
// to begin. It is a gRPC status, too.
type Error struct {
	Reach Reach
	cause error
}

// Error is the text of the status.
func (e *Error) Error() string { return e.cause.Error() }

// Unwrap returns the status.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets package status see what the error is.
func (e *Error) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// ReachOf says how far a call got that ended with an error of Invoke.
func ReachOf(err error) Reach {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reach
	}
	return Answered
}
