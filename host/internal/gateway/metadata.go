package gateway

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/sdk/link"
)

// SubsystemKey is the metadata by which a caller names the subsystem.
const SubsystemKey = "gaia-subsystem"

// crossing returns the metadata that crosses the host, in either direction: a
// copy without what belongs to one hop (gRPC's own and HTTP's), to the host
// (gaia-…), or to nobody else (authorization is the caller's key to the host,
// not to the plugin).
func crossing(md metadata.MD) metadata.MD {
	out := make(metadata.MD, len(md))
	for key, values := range md {
		if !isHop([]byte(key)) {
			out[key] = values
		}
	}
	return out
}

func isHop(key []byte) bool {
	switch string(key) {
	case "content-type", "te", "user-agent", "authorization":
		return true
	}
	for _, prefix := range []string{":", "grpc-", "gaia-"} {
		if len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// appendCrossing is crossing for metadata as the link has it. It appends what
// crosses to b.
func appendCrossing(b, md []byte) []byte {
	for key, value := range link.Pairs(md) {
		if !isHop(key) {
			b = link.AppendPair(b, key, value)
		}
	}
	return b
}

// namedIn is namedSubsystem for metadata as the link has it, and reports whether
// the caller shows credentials. last is what it returned before: mostly that is
// the name again, and then nothing is allocated.
func namedIn(md []byte, last string) (name string, credentials bool, err error) {
	times := 0
	for key, value := range link.Pairs(md) {
		switch string(key) {
		case credentialsKey:
			credentials = true
		case SubsystemKey:
			if times++; string(value) != last {
				last = string(value)
			}
			name = last
		}
	}
	if times > 1 {
		return "", credentials, errNamedOften(times)
	}
	return name, credentials, nil
}

// namedSubsystem returns the subsystem that the caller names, "" for none.
func namedSubsystem(md metadata.MD) (string, error) {
	names := md.Get(SubsystemKey)
	if len(names) > 1 {
		return "", errNamedOften(len(names))
	}
	if len(names) == 0 {
		return "", nil
	}
	return names[0], nil
}

func errNamedOften(times int) error {
	return status.Errorf(codes.InvalidArgument, "metadata %s is given %d times, at most once is allowed", SubsystemKey, times)
}
