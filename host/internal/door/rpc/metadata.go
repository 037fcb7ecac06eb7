package rpc

import (
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// incoming is a request's header as gRPC's metadata: keys in lower case, binary
// values decoded, without what belongs to HTTP and its protocols. (What belongs
// to gRPC and to the host is sorted out by the gateway.)
func incoming(header http.Header) (metadata.MD, error) {
	md := make(metadata.MD, len(header))
	for key, values := range header {
		key = strings.ToLower(key)
		switch {
		case ofHTTP(key):
		case !strings.HasSuffix(key, "-bin"):
			if !isMetadata(key, values) {
				return nil, status.Errorf(codes.InvalidArgument, "header %q cannot be metadata of gRPC, whose names have 0-9, a-z, -, _ and ., "+
					"and whose values printable ASCII: leave it out, or send base64 in a header whose name ends with -bin", key)
			}
			md[key] = values
		default:
			decoded, err := decode(key, values)
			if err != nil {
				return nil, err
			}
			md[key] = decoded
		}
	}
	return md, nil
}

// isMetadata reports whether gRPC would send a header on, whose key is in lower
// case.
func isMetadata(key string, values []string) bool {
	for _, c := range []byte(key) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return !slices.ContainsFunc(values, func(value string) bool {
		return strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
	})
}

// decode reads binary values, several of which may be in one line.
func decode(key string, values []string) ([]string, error) {
	var decoded []string
	for _, line := range values {
		for value := range strings.SplitSeq(line, ",") {
			b, err := connect.DecodeBinaryHeader(strings.TrimSpace(value))
			if err != nil {
				return nil, status.Errorf(codes.InvalidArgument, "header %s: the value is not base64, as that of a key with -bin has to be: %v", key, err)
			}
			decoded = append(decoded, string(b))
		}
	}
	return decoded, nil
}

// outgoing adds metadata to a header or trailer.
func outgoing(header http.Header, md metadata.MD) {
	for key, values := range md {
		if ofHTTP(key) {
			continue
		}
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = connect.EncodeBinaryHeader([]byte(value))
			}
			header.Add(key, value)
		}
	}
}

// ofHTTP reports whether a key in lower case says something to HTTP or to one of
// the protocols. A plugin must not answer by it: that would break the answer, or
// let a web page read it.
func ofHTTP(key string) bool {
	switch key {
	case "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "date", "vary",
		"accept", "accept-encoding", "content-type", "content-length", "content-encoding", "origin", "referer",
		"cookie", "set-cookie", "user-agent", "x-content-type-options":
		return true
	}
	for _, prefix := range []string{"connect-", "proxy-", "sec-", "access-control-", "trailer-"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
