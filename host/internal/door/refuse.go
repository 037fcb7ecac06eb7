package door

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refuse answers with an error in the form that the caller understands: of the
// protocol that they speak, as google.rpc.Status below /v1, and else as text.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	st := status.Convert(err)
	if st.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gaia"`)
	}
	protocols := connect.NewErrorWriter()
	switch path := r.URL.Path; {
	case path == "/v1" || strings.HasPrefix(path, "/v1/"):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(httpStatus(st.Code()))
		_ = json.NewEncoder(w).Encode(struct { // the caller may have gone
			Code    codes.Code `json:"code"`
			Message string     `json:"message"`
		}{st.Code(), st.Message()})
	case isMethod(path) && protocols.IsSupported(r):
		// The codes are the same in both.
		_ = protocols.Write(w, r, connect.NewError(connect.Code(st.Code()), errors.New(st.Message())))
	default:
		http.Error(w, st.Message(), httpStatus(st.Code()))
	}
}

// httpStatus is the HTTP status of the codes that the door itself refuses with.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
