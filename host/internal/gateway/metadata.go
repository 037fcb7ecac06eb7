package gateway

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// subsystemKey is the metadata by which a caller names the subsystem.
const subsystemKey = "gaia-subsystem"

// crossing returns the metadata that crosses the host, in either direction: a
// copy without what belongs to one hop (gRPC's own and HTTP's), to the host
// (gaia-…), or to nobody else (authorization is the caller's key to the host,
// not to the plugin).
func crossing(md metadata.MD) metadata.MD {
	out := make(metadata.MD, len(md))
	for key, values := range md {
		if !isHop(key) {
			out[key] = values
		}
	}
	return out
}

func isHop(key string) bool {
	switch key {
	case "content-type", "te", "user-agent", "authorization":
		return true
	}
	return strings.HasPrefix(key, ":") || strings.HasPrefix(key, "grpc-") || strings.HasPrefix(key, "gaia-")
}

// namedSubsystem returns the subsystem that the caller names, "" for none.
func namedSubsystem(md metadata.MD) (string, error) {
	names := md.Get(subsystemKey)
	if len(names) > 1 {
		return "", status.Errorf(codes.InvalidArgument, "metadata %s is given %d times, at most once is allowed", subsystemKey, len(names))
	}
	if len(names) == 0 {
		return "", nil
	}
	return names[0], nil
}
