package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// describeRetry is when a caller may ask again for a subsystem that was never
// described: a plugin takes some 10 ms to start, a slow one seconds.
const describeRetry = time.Second

// explain says why there is no route.
func (s *snapshot[S]) explain(method, name string) error {
	if name != "" {
		return s.explainNamed(method, name)
	}
	service, short := split(method)
	servers := s.services[service]
	switch {
	case len(s.routes[method]) > 1:
		return status.Errorf(codes.InvalidArgument, "%s is served by the subsystems %s: name one in the metadata gaia-subsystem",
			method, list(servers))
	case len(servers) > 0:
		return s.unknownMethod(service, short, servers)
	}
	text := fmt.Sprintf("no subsystem serves %q%s", service, suggest(service, slices.Collect(maps.Keys(s.services))))
	if undescribed := s.undescribed(); len(undescribed) > 0 {
		return unavailable(text + fmt.Sprintf("; what %s serves is not known yet, see `gaia status`", list(undescribed)))
	}
	return status.Error(codes.Unimplemented, text)
}

// explainNamed says why the named subsystem does not take the call.
func (s *snapshot[S]) explainNamed(method, name string) error {
	known, ok := s.subsystems[name]
	if !ok {
		return status.Errorf(codes.NotFound, "no subsystem %q%s", name, suggest(name, s.names))
	}
	if known.description == nil {
		return unavailable(fmt.Sprintf("what subsystem %q serves is not known yet: it was never ready, see `gaia status`", name))
	}
	service, short := split(method)
	if slices.Contains(known.description.Services, service) {
		return s.unknownMethod(service, short, []string{name})
	}
	if others := s.services[service]; len(others) > 0 {
		return status.Errorf(codes.Unimplemented, "subsystem %q does not serve %q, which is served by %s", name, service, list(others))
	}
	return status.Errorf(codes.Unimplemented, "subsystem %q does not serve %q%s",
		name, service, suggest(service, known.description.Services))
}

// unknownMethod is for a service that exists and a method that does not.
func (s *snapshot[S]) unknownMethod(service, method string, servers []string) error {
	var names []string
	for _, server := range servers {
		for _, m := range s.subsystems[server].description.methods {
			if in, short := split(m.Name); in == service {
				names = append(names, short)
			}
		}
	}
	return status.Errorf(codes.Unimplemented, "service %q has no method %q%s", service, method, suggest(method, names))
}

// undescribed returns the subsystems that are known by name only, sorted.
func (s *snapshot[S]) undescribed() []string {
	var names []string
	for _, name := range s.names {
		if s.subsystems[name].description == nil {
			names = append(names, name)
		}
	}
	return names
}

func unavailable(text string) error {
	st, err := status.New(codes.Unavailable, text).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(describeRetry)})
	if err != nil {
		return status.Error(codes.Unavailable, text)
	}
	return st.Err()
}

// split cuts "/pkg.Service/Method" in two.
func split(method string) (service, name string) {
	i := strings.LastIndexByte(method, '/')
	if i < 0 {
		return "", method
	}
	return strings.TrimPrefix(method[:i], "/"), method[i+1:]
}

func suggest(given string, candidates []string) string {
	if name, ok := nearest.Name(given, candidates); ok {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

// list writes names as `"a", "b"`.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ")
}
