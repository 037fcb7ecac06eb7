package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"golang.org/x/sync/errgroup"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// reloadTimeout bounds a reload: instances that are to take over have to be
// ready by then.
const reloadTimeout = time.Minute

// withdrawTimeout bounds the way back from a reload that came to nothing.
const withdrawTimeout = 10 * time.Second

// reloadOnHangup reloads for each signal until ctx ends.
func (h *host) reloadOnHangup(ctx context.Context) {
	for {
		select {
		case <-h.options.Hangup:
			r := h.reload(ctx)
			if r.GetDiagnostics() != "" {
				h.logger.Error("config has faults", "faults", r.GetDiagnostics())
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the config again and puts into force what changed in it. It
// either does all of it, or nothing and says why.
func (h *host) reload(ctx context.Context) *hostv1.ReloadResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.tellReload()()
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	old := h.config.Load()
	cfg, policy, report := check(ctx, old.Path, h.logger, h.catalog.ties)
	r := &hostv1.ReloadResponse{Diagnostics: text(report)}
	if report.HasErrors() {
		h.refused("the config has faults: " + report.Err().Error())
		return r
	}
	changes, err := h.compare(cfg)
	before := h.supervise.Executables.Trust(policy.Check) // instances that are to take over start by it
	var audit *os.File
	if err == nil {
		audit, err = access.OpenFile(cfg.Host.AuditLog)
	}
	if err == nil {
		if err = prepare(ctx, changes); err != nil && audit != nil {
			err = errors.Join(err, audit.Close())
		}
	}
	if err != nil {
		h.supervise.Executables.Trust(before)
		r.Diagnostics += refusal(err)
		h.refused(err.Error())
		return r
	}
	h.audit.Use(audit)
	h.trusts.Store(policy)
	r.Applied, r.Changes = true, h.commit(ctx, cfg, changes)
	h.applied(r.GetChanges())
	return r
}

// text is a report as `gaia validate` prints it.
func text(report *config.Report) string {
	var b strings.Builder
	if err := report.WriteText(&b, false); err != nil {
		return report.Err().Error() // cannot be: it is written to memory
	}
	return b.String()
}

// refusal is why a config that has no faults of its own cannot be applied.
func refusal(err error) string {
	if report := supervisor.Refusal(err); report != nil {
		return text(report)
	}
	return fmt.Sprintf("Error: %v\n", err)
}

func (h *host) refused(reason string) {
	h.metrics.Reloaded(telemetry.ReloadRefused)
	h.events.Add(supervisor.Event{Time: time.Now(), Kind: "refused", Reason: reason})
	h.logger.Error("config not reloaded; the one before stays in force", "err", reason)
}

func (h *host) applied(changes []string) {
	result := telemetry.ReloadApplied
	if len(changes) == 0 {
		result = telemetry.ReloadUnchanged
	}
	h.metrics.Reloaded(result)
	h.events.Add(supervisor.Event{Time: time.Now(), Kind: "reloaded", Reason: strings.Join(changes, "; ")})
	h.logger.Info("config reloaded", "changes", strings.Join(changes, "; "))
}

// change is what a reload does to one subsystem that was there before.
type change struct {
	subsystem *subsystem
	plan      *supervisor.Plan
	former    *supervisor.Plan      // to go back to
	policies  bool                  // settings have changed that need no instance to know of them
	config    bool                  // the config{} block has changed
	swap      bool                  // another instance has to take over
	live      bool                  // the instance has taken the new block
	candidate *supervisor.Candidate // of a swap, once it is prepared
}

// compare finds out what has changed in the subsystems that stay.
func (h *host) compare(cfg *config.Config) ([]*change, error) {
	var changes []*change
	for i := range cfg.Subsystems {
		next := &cfg.Subsystems[i]
		s, err := h.find(next.Name)
		if err != nil {
			continue // it is new
		}
		before := s.config.Load()
		c := &change{
			subsystem: s,
			plan:      supervisor.NewPlan(next),
			former:    supervisor.NewPlan(before),
			policies:  !next.SettingsEqual(before),
			swap:      next.Plugin != before.Plugin || next.SHA256 != before.SHA256,
		}
		if !c.swap {
			c.plan.KeepSwap(s.supervisor.Status().File)
		}
		if c.config, err = s.supervisor.ConfigDiffers(c.plan, c.former, s.description.Load()); err != nil && !c.swap { // of another plugin, it is another message
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// prepare does all of the changes that may come to nothing, and takes them
// back if one does.
func prepare(ctx context.Context, changes []*change) error {
	var starting errgroup.Group
	for _, c := range changes {
		starting.Go(func() error { return c.prepare(ctx) })
	}
	err := starting.Wait()
	if err == nil {
		return nil
	}
	// ctx may have ended, which may be why.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	for _, c := range changes {
		err = errors.Join(err, c.withdraw(ctx))
	}
	return err
}

// prepare gives the config{} block to the instance, or gets another instance
// ready that has it.
func (c *change) prepare(ctx context.Context) (err error) {
	s := c.subsystem.supervisor
	if c.config && !c.swap {
		if c.live, err = s.Reconfigure(ctx, c.plan); err != nil {
			c.live = supervisor.Refusal(err) == nil // else the plugin may have taken it all the same
			return fmt.Errorf("%s: %w", c.subsystem.name, err)
		}
		// The next start has the new block; one that is under way has not.
		state := s.Status().State
		c.swap = !c.live && state != supervisor.Backoff && state != supervisor.Quarantined
	}
	if !c.swap {
		return nil
	}
	if c.candidate, err = s.Prepare(ctx, c.plan, "the config was reloaded"); err != nil {
		return fmt.Errorf("%s: %w", c.subsystem.name, err)
	}
	return nil
}

// withdraw takes back what prepare did.
func (c *change) withdraw(ctx context.Context) error {
	switch {
	case c.candidate != nil:
		return c.candidate.Withdraw()
	case c.live:
		_, err := c.subsystem.supervisor.Reconfigure(ctx, c.former)
		return err
	}
	return nil
}

// commit puts a config into force and says what it did. What can go wrong now
// concerns one subsystem, which then stays as it was.
func (h *host) commit(ctx context.Context, cfg *config.Config, changes []*change) (done []string) {
	before := h.config.Swap(cfg)
	if needsRestart(before.Host, cfg.Host) {
		done = append(done, "host: what changed in this block holds from the next start of the host on")
	}
	h.clients.Set(config.NewToken(h.token), cfg.Clients)
	done = append(done, clientChanges(before.Clients, cfg.Clients)...)
	for _, s := range h.all() {
		if !slices.ContainsFunc(cfg.Subsystems, func(c config.Subsystem) bool { return c.Name == s.name }) {
			h.remove(s)
			done = append(done, s.name+": removed")
		}
	}
	for _, c := range changes {
		if words := h.commitChange(ctx, c); words != "" {
			done = append(done, c.subsystem.name+": "+words)
		}
	}
	for i := range cfg.Subsystems {
		if _, err := h.find(cfg.Subsystems[i].Name); err != nil {
			h.start(h.add(&cfg.Subsystems[i]))
			done = append(done, cfg.Subsystems[i].Name+": added")
		}
	}
	return done
}

// needsRestart reports whether something has changed that is not put into force
// while the host runs.
func needsRestart(before, after config.Host) bool {
	before.AuditLog, before.TLS, before.TrustedKeys = after.AuditLog, after.TLS, after.TrustedKeys
	return !reflect.DeepEqual(before, after)
}

func (h *host) commitChange(ctx context.Context, c *change) string {
	s := c.subsystem
	var words []string
	if c.candidate != nil {
		if err := c.candidate.Commit(ctx); err != nil {
			return "not replaced, and so nothing of it applies: " + err.Error() // the next reload tries again
		}
		words = append(words, fmt.Sprintf("generation %d took over", s.supervisor.Status().Generation))
	}
	if c.policies {
		words = append(words, "settings applied")
	}
	h.apply(s, c.plan.Subsystem)
	if c.candidate == nil {
		if err := s.supervisor.Adopt(c.plan, c.config); err != nil {
			return err.Error()
		}
		words = append(words, c.commitConfig(ctx)...)
	}
	return strings.Join(words, ", ")
}

// commitConfig says what became of a config{} block that needed no other
// instance. One that was started meanwhile has the block before.
func (c *change) commitConfig(ctx context.Context) []string {
	s := c.subsystem.supervisor
	if !c.config {
		return nil
	}
	if differs, err := s.ConfigDiffers(c.plan, c.plan, nil); err == nil && differs {
		if err := s.Swap(ctx, c.plan, "the config was reloaded"); err != nil {
			return []string{"config applies from the next start on: " + err.Error()}
		}
		return []string{fmt.Sprintf("generation %d took over", s.Status().Generation)}
	}
	if c.live {
		return []string{"config applied while it runs"}
	}
	return []string{"config applies from the next start on"}
}
