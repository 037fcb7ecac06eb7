package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// statusClientClosed is what nginx answers, and nobody reads, when the caller has
// left.
const statusClientClosed = 499

// httpStatus is the HTTP status of a gRPC code, by google/rpc/code.proto.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return statusClientClosed
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	default: // Unknown, Internal, DataLoss and what is none
		return http.StatusInternalServerError
	}
}

// errorBody is google.rpc.Status.
type errorBody struct {
	Code    codes.Code        `json:"code"`
	Message string            `json:"message"`
	Details []json.RawMessage `json:"details,omitempty"`
}

// bodyOf tells an error as JSON. types may be nil.
func bodyOf(err error, types request.Resolver) errorBody {
	s := status.Convert(err)
	body := errorBody{Code: s.Code(), Message: s.Message()}
	if types == nil {
		types = protoregistry.GlobalTypes
	}
	for _, detail := range s.Proto().GetDetails() {
		body.Details = append(body.Details, detailJSON(detail, types))
	}
	return body
}

// detailJSON is a detail by its type, or as its bytes where nobody knows that.
func detailJSON(detail *anypb.Any, types request.Resolver) json.RawMessage {
	raw, err := request.AppendJSON(nil, detail, types)
	if err == nil {
		return raw
	}
	raw, _ = json.Marshal(map[string]string{ // of strings, which cannot fail
		"@type": detail.GetTypeUrl(), "value": base64.StdEncoding.EncodeToString(detail.GetValue()),
	})
	return raw
}

// writeError answers with an error and nothing else.
func writeError(w http.ResponseWriter, err error, types request.Resolver) {
	writeErrorAs(w, httpStatus(status.Code(err)), err, types)
}

// refuse answers with an error whose HTTP status says more than its code.
func refuse(w http.ResponseWriter, code int, c codes.Code, format string, args ...any) {
	writeErrorAs(w, code, status.Errorf(c, format, args...), nil)
}

func writeErrorAs(w http.ResponseWriter, code int, err error, types request.Resolver) {
	if seconds, ok := retryAfter(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	writeJSON(w, code, bodyOf(err, types))
}

// retryAfter is RetryInfo in the whole seconds that HTTP has.
func retryAfter(err error) (seconds int, ok bool) {
	for _, detail := range status.Convert(err).Proto().GetDetails() {
		var info errdetails.RetryInfo
		if detail.MessageIs(&info) && detail.UnmarshalTo(&info) == nil {
			return int(math.Ceil(info.GetRetryDelay().AsDuration().Seconds())), true
		}
	}
	return 0, false
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	raw, err := marshalJSON(body)
	if err != nil {
		code, raw = http.StatusInternalServerError, []byte(`{"code":13,"message":"internal: the answer is no JSON"}`)
	}
	writeBody(w, code, contentJSON, raw)
}

func writeBody(w http.ResponseWriter, code int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // of a type that the caller asked for, and no browser guesses another one; the caller may have gone
}

// marshalJSON is JSON in one line for programs that know it from HTML.
func marshalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return b.Bytes(), err
}

// percentEncoded is a message as grpc-message has it: printable ASCII, and the
// rest of UTF-8 as %XX.
func percentEncoded(message string) string {
	var b strings.Builder
	for i := range len(message) {
		if c := message[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
