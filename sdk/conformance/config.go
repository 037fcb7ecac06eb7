package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// takesConfig gives the plugin the config that all later checks give it.
func takesConfig(ctx context.Context, s *suite) error {
	if s.Config != nil {
		message, err := s.Config(s.configType)
		if err == nil && message != nil {
			s.config, err = proto.Marshal(message)
		}
		if err != nil {
			s.fatal = err
			return err
		}
	}
	i, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	s.blocked = skipf("it does not take its config")
	faults, err := i.configure(ctx, s.config)
	if err != nil {
		return fail("an answer without faults", err.Error(), "answer Configure with diagnostics, not with an error, where a config cannot be used")
	}
	if len(faults) > 0 {
		fix := "give it one that it can use: --config FILE.hcl, or plugintest.Config"
		if s.Config != nil {
			fix = "correct the config, or what the plugin thinks of it"
		}
		return fail("no faults", diagnosticText(faults[0]), fix)
	}
	s.blocked = nil
	return nil
}

// takesNoConfig gives what a subsystem without a config{} block does.
func takesNoConfig(ctx context.Context, s *suite) error {
	i, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // as above
	faults, err := i.configure(ctx, nil)
	if err != nil {
		return fail("an answer, with diagnostics or without", err.Error(), "answer with diagnostics where something is missing: the host shows them with file and line")
	}
	return s.checkFaults(faults)
}

// refusesRubbish sends bytes that are no message at all. The host never does; a
// plugin that it kills would end with it.
func refusesRubbish(ctx context.Context, s *suite) error {
	if s.configType == nil {
		return skipf("it takes no config")
	}
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	for _, rubbish := range noMessages() {
		faults, err := i.configure(ctx, rubbish)
		if err == nil && len(faults) == 0 {
			return fail("an error or a diagnostic", fmt.Sprintf("that config % x was taken", rubbish), "decode the config and answer InvalidArgument where that fails")
		}
	}
	if _, err := s.describe(ctx, i); err != nil {
		return fail("that it answers as before", err.Error(), "let no config end the process")
	}
	return nil
}

// maxWrong bounds how many wrong values are tried: each needs a process.
const maxWrong = 24

// refusesWrongValues puts an extreme value into one field of the config after
// the other, as an operator might, and looks at the words.
func refusesWrongValues(ctx context.Context, s *suite) error {
	if s.configType == nil {
		return skipf("it takes no config")
	}
	fields := s.configType.Fields()
	for n := range min(fields.Len(), maxWrong) {
		fd := fields.Get(n)
		config := dynamicpb.NewMessage(s.configType)
		if err := (proto.UnmarshalOptions{Resolver: s.types()}).Unmarshal(s.config, config); err != nil {
			return err
		}
		setExtreme(config, fd, 1, shallow)
		raw, err := proto.Marshal(config)
		if err != nil {
			return err
		}
		if err := s.tryConfig(ctx, fd, raw); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) tryConfig(ctx context.Context, fd protoreflect.FieldDescriptor, config []byte) error {
	i, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // as above
	faults, err := i.configure(ctx, config)
	if err != nil {
		return fail("an answer, with diagnostics or without", fmt.Sprintf("for an extreme value of %s: %v", fd.Name(), err), "answer with a diagnostic whose path is the field")
	}
	return s.checkFaults(faults)
}

// checkFaults looks whether the host can show diagnostics to an operator.
func (s *suite) checkFaults(faults []*pluginv1.Diagnostic) error {
	for _, d := range faults {
		if d.GetSummary() == "" {
			return fail("a summary in every diagnostic", fmt.Sprintf("none in %q", diagnosticText(d)), "say in a few stable words what is wrong")
		}
		if s.configType == nil {
			continue
		}
		if err := checkPath(s.configType, d.GetPath()); err != nil {
			return fail("the path of a field of "+string(s.configType.FullName()), fmt.Sprintf("%q: %v", d.GetPath(), err), "write paths like profile[\"github\"].base_url or rule[2].host: the host turns them into file and line")
		}
	}
	return nil
}

// checkPath follows a path such as `profile["github"].base_url` through a
// message.
func checkPath(md protoreflect.MessageDescriptor, path string) error {
	for path != "" {
		if md == nil {
			return fmt.Errorf("there is nothing below a plain value: %q", path)
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		fd := md.Fields().ByName(protoreflect.Name(path[:end]))
		if fd == nil {
			return fmt.Errorf("%s has no field %q", md.FullName(), path[:end])
		}
		md = fd.Message()
		if fd.IsMap() {
			md = fd.MapValue().Message()
		}
		path = path[end:]
		if strings.HasPrefix(path, "[") {
			_, rest, ok := strings.Cut(path, "]")
			if !ok || !fd.IsMap() && !fd.IsList() {
				return errors.New("a [key] is for a map or a list")
			}
			path = rest
		}
		path = strings.TrimPrefix(path, ".")
	}
	return nil
}

// takesAnotherConfig is for plugins that promise it.
func takesAnotherConfig(ctx context.Context, s *suite) error {
	if !s.description.GetLiveConfig() {
		return skipf("it does not promise live_config: the host replaces the process instead")
	}
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		faults, err := i.configure(ctx, s.config)
		if status.Code(err) != codes.OK || len(faults) > 0 {
			return fail("the same config again, without faults", fmt.Sprintf("%v %v", faults, err), "take Configure again, with calls in flight, or do not say live_config")
		}
	}
	return nil
}
