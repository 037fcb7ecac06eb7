package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// maxKnown is how many executables a supervisor remembers: the one that serves,
// the one before, and some that came to nothing.
const maxKnown = 8

// known is what the supervisor knows of executables from earlier instances.
// Asking again and decoding again would make up half of a restart. Safe for
// concurrent use.
type known struct {
	mu           sync.Mutex
	descriptions map[string]*registry.Description // by checksum
	announced    *registry.Description            // what everybody was told of: that of who serves, or served last
	decoded      decoded
}

// decoded is the config{} block of a plan as a plugin's message.
type decoded struct {
	plan        *Plan
	description *registry.Description
	config      proto.Message // nil when the plugin takes none
}

func (k *known) find(sha256 string) *registry.Description {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.descriptions[sha256]
}

func (k *known) add(sha256 string, d *registry.Description) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.descriptions == nil || len(k.descriptions) >= maxKnown {
		k.descriptions = make(map[string]*registry.Description)
	}
	k.descriptions[sha256] = d
}

// announce remembers what serves now, and reports whether that is news.
func (k *known) announce(d *registry.Description) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	news := k.announced != d
	k.announced = d
	return news
}

func (k *known) lastAnnounced() *registry.Description {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.announced
}

// start makes an instance that is ready for calls.
func (s *Supervisor) start(ctx context.Context, generation uint64, plan *Plan, out *output) (*Instance, error) {
	l := launcher{
		executables: s.options.Executables,
		path:        filepath.Join(s.options.PluginDir, plan.File),
		sha256:      plan.SHA256,
		socketDir:   s.options.SocketDir,
		env:         s.options.Env,
		timeout:     plan.Subsystem.Restart.StartTimeout,
		ties:        s.options.Ties,
		group:       fmt.Sprintf("%s-%d", plan.Subsystem.Name, generation),
		limits:      limitsOf(plan.Subsystem),
		logger:      out.logger,
	}
	launch := l.launch
	if plan.attach != "" {
		launch = l.attacher(plan.attach)
	}
	i, err := launch(ctx, out.line)
	if err != nil {
		return nil, err
	}
	i.generation = generation
	if i.description, err = s.describe(ctx, i); err != nil {
		return nil, errors.Join(err, i.close())
	}
	if err := s.configure(ctx, i, plan); err != nil {
		return nil, errors.Join(err, i.close())
	}
	if !s.options.NoLink {
		i.openLink(ctx)
	}
	return i, nil
}

// describe asks the instance, unless its executable was asked before. The
// checksum of a script says nothing of what it loads.
func (s *Supervisor) describe(ctx context.Context, i *Instance) (*registry.Description, error) {
	exe := i.executable
	if d := s.known.find(exe.SHA256); d != nil && !exe.Script {
		return d, nil
	}
	d, err := i.describe(ctx)
	if err != nil {
		return nil, err
	}
	s.known.add(exe.SHA256, d)
	return d, nil
}

// decode returns the plan's config{} block as the plugin's message.
func (s *Supervisor) decode(d *registry.Description, plan *Plan) (proto.Message, error) {
	k := &s.known
	k.mu.Lock()
	last := k.decoded
	k.mu.Unlock()
	if last.plan == plan && last.description == d {
		return last.config, nil
	}
	message, report := plan.Subsystem.DecodeConfig(d.ConfigMessage())
	if report.HasErrors() {
		return nil, s.refused(report)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.decoded = decoded{plan, d, message}
	return message, nil
}

// configure gives an instance the config{} block of a plan.
func (s *Supervisor) configure(ctx context.Context, i *Instance, plan *Plan) error {
	message, err := s.decode(i.description, plan)
	if err != nil {
		return err
	}
	diagnostics, err := i.configure(ctx, plan.Subsystem, message)
	if err != nil {
		return err
	}
	if report := plan.Subsystem.PluginDiagnostics(diagnostics); report.HasErrors() {
		return s.refused(report)
	}
	i.config.Store(&message)
	return nil
}

// ConfigDiffers reports whether the config{} block of a plan is another one
// than the instance has that serves or, without one, than former had. known is
// what the plugin serves as far as others know; it may be nil. An error says that
// the block is none for the plugin.
func (s *Supervisor) ConfigDiffers(plan, former *Plan, known *registry.Description) (bool, error) {
	var has proto.Message
	d := cmp.Or(s.known.lastAnnounced(), known)
	if i := s.Instance(); i != nil {
		d, has = i.description, *i.config.Load()
	} else if d == nil {
		return false, nil // it was never described, and will be asked when it starts
	} else {
		has, _ = former.Subsystem.DecodeConfig(d.ConfigMessage())
	}
	message, report := plan.Subsystem.DecodeConfig(d.ConfigMessage())
	if report.HasErrors() {
		return true, refusedError{unusableError{report.Err()}, report}
	}
	return !proto.Equal(message, has), nil
}

// refusedError is a config that a plugin does not take.
type refusedError struct {
	unusableError

	report *config.Report
}

// Refusal returns the faults that a plugin, or the check of its config{} block,
// found, if that is what an error is about; or nil.
func Refusal(err error) *config.Report {
	if r, ok := errors.AsType[refusedError](err); ok {
		return r.report
	}
	return nil
}

// refused logs all faults of a config with their lines, and returns the first.
func (s *Supervisor) refused(report *config.Report) error {
	var text strings.Builder
	if err := report.WriteText(&text, false); err == nil { // to memory
		s.options.Logger.Error("config refused", "subsystem", s.options.Plan.Subsystem.Name, "faults", text.String())
	}
	return refusedError{unusableError{report.Err()}, report}
}

// announce tells what the instance serves that takes over, if that is news.
func (s *Supervisor) announce(i *Instance) {
	if s.known.announce(i.description) {
		s.options.Described(i.description, i.executable.SHA256)
	}
}

// Reconfigure gives the config{} block of a plan to the instance that serves,
// without another start. It reports false when the plugin does not take that
// while it runs, or there is no instance; then nothing has changed. An error
// is the plugin's refusal: it goes on with what it has.
func (s *Supervisor) Reconfigure(ctx context.Context, plan *Plan) (bool, error) {
	i := s.Instance()
	if i == nil || !i.description.LiveConfig || !i.enter() {
		return false, nil
	}
	defer i.Release()
	if err := s.configure(ctx, i, plan); err != nil {
		return false, fmt.Errorf("generation %d: %w", i.Generation(), err)
	}
	return true, nil
}
