package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/trust"
)

// Check loads the config as Run does and starts nothing for good: a plugin
// whose description is not known yet is asked for it and ended. The config is
// nil if the report has errors.
func Check(ctx context.Context, path string) (*config.Config, *config.Report) {
	cfg, _, report := check(ctx, path, hclog.NewNullLogger(), supervisor.Ties{})
	return cfg, report
}

// check is Check within a host, which binds the plugins that are asked as it
// binds its own. It returns, too, which plugins that config trusts.
func check(ctx context.Context, path string, logger hclog.Logger, ties supervisor.Ties) (*config.Config, *trust.Policy, *config.Report) {
	// Not beside the host's socket: a host may be running there.
	socketDir, err := os.MkdirTemp("", "gaia")
	if err != nil { // then what is not cached cannot be asked
		logger.Warn("plugins cannot be asked what they serve", "err", err)
	} else {
		defer os.RemoveAll(socketDir) //nolint:errcheck // of an empty directory for temporary files
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	trusted, isSound := config.LoadHost(path)
	policy, lockFaults := trust.Open(path, trusted)
	executables := supervisor.NewExecutables()
	executables.Trust(policy.Check)
	describe := func(h config.Host, s *config.Subsystem) (*registry.Description, error) {
		plugins := newCatalog(h, executables, socketDir, logger, ties)
		if isSound && !lockFaults.HasErrors() {
			d, _, err := plugins.describe(ctx, s.Plugin, s.SHA256)
			return d, err
		}
		if d := plugins.known(s.Plugin, s.SHA256); d != nil {
			return d, nil
		}
		return nil, errors.New("it is not started to be asked: with a fault in the host block or the lock file, nobody can say which plugins are trusted")
	}
	cfg, report := config.Load(path, askAtOnce(path, func(h config.Host, s *config.Subsystem) (protoreflect.MessageDescriptor, error) {
		d, err := describe(h, s)
		if err != nil {
			return nil, err
		}
		return d.ConfigMessage(), nil
	}))
	report.Add(lockFaults)
	if cfg != nil && (!isSound || !slices.Equal(cfg.Host.TrustedKeys, trusted.TrustedKeys)) {
		report.Add(changed())
	}
	if report.HasErrors() {
		return nil, nil, report
	}
	report.Add(unknown(cfg, func(s *config.Subsystem) *registry.Description {
		d, _ := describe(cfg.Host, s) // that it cannot be described was said
		return d
	}))
	return cfg, policy, report
}

// unknown warns of what no plugin has. described is what a subsystem's plugin
// serves; nil when that is not known.
func unknown(cfg *config.Config, described func(*config.Subsystem) *registry.Description) *config.Report {
	report := &config.Report{}
	for i := range cfg.Subsystems {
		s := &cfg.Subsystems[i]
		if len(s.KeysUsed()) == 0 {
			continue
		}
		if d := described(s); d != nil {
			report.Add(unknownKeys(s, d))
		}
	}
	for i := range cfg.Clients {
		report.Add(unknownPermissions(cfg, &cfg.Clients[i], described))
	}
	return report
}

// changed is the fault of a config that was another one when it was read again: plugins were
// asked by what it said before of which are trusted.
func changed() *config.Report {
	return config.FaultWithoutPlace("Config has changed", "The file was written while it was read. Try again.")
}

// unknownKeys warns of policies that are kept apart by a key which no method
// of the plugin has: they would never apply.
func unknownKeys(s *config.Subsystem, d *registry.Description) *config.Report {
	var known []string
	for _, m := range d.Methods() {
		for _, k := range m.Keys() {
			known = append(known, k.Name)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	report := &config.Report{}
	for _, use := range s.KeysUsed() {
		if slices.Contains(known, use.Key) {
			continue
		}
		detail := fmt.Sprintf("No method of %s has a key %q, so that this never applies.", s.Plugin, use.Key)
		if near, ok := nearest.Name(use.Key, known); ok {
			detail += fmt.Sprintf(" Did you mean %q?", near)
		} else if len(known) > 0 {
			detail += " Keys of its methods: " + strings.Join(known, ", ") + "."
		}
		report.Add(s.WarnAt(use.Path, "Key that no method has", detail))
	}
	return report
}

// askTimeout bounds the time in which plugins that were never seen are asked
// what they serve. One that takes longer is checked when it is started.
const askTimeout = 5 * time.Second

// askAtOnce asks all plugins of a config at the same time, so that those which
// do not answer take the time of one.
func askAtOnce(path string, describe config.DescribeFunc) config.DescribeFunc {
	cfg, _ := config.Load(path, nil)
	if cfg == nil { // it has faults, and one more look finds the others
		return describe
	}
	type answer struct {
		message protoreflect.MessageDescriptor
		err     error
	}
	answers := make([]answer, len(cfg.Subsystems))
	var asking sync.WaitGroup
	for i := range cfg.Subsystems {
		asking.Go(func() { answers[i].message, answers[i].err = describe(cfg.Host, &cfg.Subsystems[i]) })
	}
	asking.Wait()
	return func(h config.Host, s *config.Subsystem) (protoreflect.MessageDescriptor, error) {
		for i, known := range cfg.Subsystems {
			if known.Name == s.Name {
				return answers[i].message, answers[i].err
			}
		}
		return describe(h, s)
	}
}

// unknownPermissions warns of what a client may call and nobody serves. describe
// returns what a subsystem serves; nil when that is not known.
func unknownPermissions(cfg *config.Config, c *config.Client, describe func(*config.Subsystem) *registry.Description) *config.Report {
	report := &config.Report{}
	subsystems := []string{config.HostClient}
	for _, s := range cfg.Subsystems {
		subsystems = append(subsystems, s.Name)
	}
	for i, p := range c.Allow {
		if p.Subsystem != "" && !slices.Contains(subsystems, p.Subsystem) {
			report.Add(c.WarnAt(i, "Unknown subsystem", absent(fmt.Sprintf("There is no subsystem %q", p.Subsystem), p.Subsystem, subsystems)))
			continue
		}
		methods := methodsOf(cfg, p.Subsystem, describe)
		if methods == nil || slices.ContainsFunc(methods, func(m string) bool { return p.Allows(p.Subsystem, m) }) {
			continue
		}
		report.Add(c.WarnAt(i, "Unknown method", absent(fmt.Sprintf("%s has no method %q", p.Subsystem, strings.TrimPrefix(p.String(), p.Subsystem+".")), p.Method, methods)))
	}
	return report
}

// absent is a sentence on a name that there is not, with the one that was
// probably meant.
func absent(sentence, name string, known []string) string {
	sentence += ", so that this allows nothing."
	if near, ok := nearest.Name(name, known); ok {
		return sentence + fmt.Sprintf(" Did you mean %q?", near)
	}
	return sentence + " There are: " + strings.Join(known, ", ") + "."
}

// methodsOf are the last parts of the names of the methods of a subsystem,
// sorted; nil when they are not known.
func methodsOf(cfg *config.Config, subsystem string, describe func(*config.Subsystem) *registry.Description) (names []string) {
	if subsystem == config.HostClient {
		for _, m := range hostv1.Host_ServiceDesc.Methods {
			names = append(names, m.MethodName)
		}
		for _, s := range hostv1.Host_ServiceDesc.Streams {
			names = append(names, s.StreamName)
		}
	}
	i := slices.IndexFunc(cfg.Subsystems, func(s config.Subsystem) bool { return s.Name == subsystem })
	if i >= 0 {
		if d := describe(&cfg.Subsystems[i]); d != nil {
			for _, m := range d.Methods() {
				names = append(names, string(m.Descriptor.Name()))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
