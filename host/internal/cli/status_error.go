package cli

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// describeStatus says what a gRPC error says, its details included. Types
// knows the details that the plugin defines itself; nil knows the standard
// ones only.
func describeStatus(s *status.Status, types request.Resolver) *failure {
	f := failed("%s (%s)", s.Message(), s.Code())
	if s.Message() == "" {
		f.text = s.Code().String()
	}
	for _, detail := range s.Proto().GetDetails() {
		f.addDetail(detail, types)
	}
	return f
}

func (f *failure) addDetail(detail *anypb.Any, types request.Resolver) {
	known, err := detail.UnmarshalNew()
	if err != nil {
		f.notes = append(f.notes, unknownDetail(detail, types))
		return
	}
	switch d := known.(type) {
	case *errdetails.RetryInfo:
		f.hints = append(f.hints, fmt.Sprintf("retry in %s", d.GetRetryDelay().AsDuration()))
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			f.note(v.GetField() + ": " + v.GetDescription())
		}
	case *errdetails.QuotaFailure:
		for _, v := range d.GetViolations() {
			f.note(v.GetSubject() + ": " + v.GetDescription())
		}
	case *errdetails.PreconditionFailure:
		for _, v := range d.GetViolations() {
			f.note(v.GetSubject() + ": " + v.GetDescription())
		}
	case *errdetails.ErrorInfo:
		f.notes = append(f.notes, errorInfo(d)...)
	case *errdetails.Help:
		for _, link := range d.GetLinks() {
			f.hints = append(f.hints, link.GetDescription()+": "+link.GetUrl())
		}
	default:
		f.notes = append(f.notes, unknownDetail(detail, types))
	}
}

// note adds a line, unless the text says it already.
func (f *failure) note(line string) {
	if !strings.Contains(f.text, line) {
		f.notes = append(f.notes, line)
	}
}

func errorInfo(d *errdetails.ErrorInfo) []string {
	notes := []string{fmt.Sprintf("reason: %s", d.GetReason())}
	for key, value := range d.GetMetadata() {
		notes = append(notes, key+": "+value)
	}
	slices.Sort(notes[1:])
	return notes
}

// unknownDetail prints a detail as JSON, or by its name alone when nobody
// knows its type.
func unknownDetail(detail *anypb.Any, types request.Resolver) string {
	raw, err := protojson.MarshalOptions{Resolver: types}.Marshal(detail)
	if err == nil {
		raw, err = compact(raw)
	}
	if err != nil {
		return "detail of type " + string(detail.MessageName())
	}
	return "detail: " + string(raw)
}
