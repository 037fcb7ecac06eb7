package processes

import (
	"fmt"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// status is the process as callers see it, and the version of its state.
func (p *process) status() (s *processv1.Process, version uint64) {
	p.mu.Lock()
	machine, c, log := p.machine, p.child, p.log
	version = p.version
	p.mu.Unlock()
	s = &processv1.Process{
		Name:        p.name,
		Spec:        p.shownSpec(),
		State:       stateOf(machine.State),
		Reason:      p.reason(machine),
		Started:     timestamp(machine.Since),
		Restarts:    machine.Restarts,
		Exit:        exitReason(machine.Exit),
		Confinement: p.manager.forest.String(),
	}
	if machine.State == life.Backoff {
		s.NextStart = timestamp(machine.NextStart)
	}
	if machine.Alive && c != nil {
		s.Pid, s.Adopted = int32(c.pid), c.adopted //nolint:gosec // G115: pids have 22 bits
		usage := c.group.Usage()
		s.Processes, s.Memory, s.Cpu = uint32(usage.Processes), usage.Memory, durationpb.New(usage.CPU) //nolint:gosec // G115: a count
	}
	if log != nil {
		start, end, dropped := log.Bounds()
		s.LogStart, s.LogEnd, s.LogDropped = uint64(start), uint64(end), uint64(dropped) //nolint:gosec // G115: offsets are not negative
	}
	return s, version
}

// shown is the process as callers see it.
func (p *process) shown() *processv1.Process {
	s, _ := p.status()
	return s
}

// shownSpec is the spec without the values of env.
func (p *process) shownSpec() *processv1.Spec {
	spec := proto.CloneOf(p.request.GetSpec())
	for name := range spec.GetEnv() {
		spec.Env[name] = ""
	}
	return spec
}

// reason is why a process is in its state, in words.
func (p *process) reason(m life.Machine) string {
	exit := ""
	if m.Exit != nil {
		exit = m.Exit.Message
	}
	switch m.State {
	case life.New, life.Starting:
		if !m.Alive {
			return "is being started"
		}
		if doubt := p.lastDoubt(); doubt != "" {
			return "not ready yet: " + doubt
		}
		return "not ready yet"
	case life.Running:
		if fault := p.logFault(); fault != nil {
			return fmt.Sprintf("what it writes is not kept at present: %v", fault)
		}
		return p.lastDoubt()
	case life.Backoff:
		return fmt.Sprintf("%s, restart in %v", exit, life.Rounded(max(0, time.Until(m.NextStart))))
	case life.Stopping:
		return fmt.Sprintf("was asked to end (%s), is killed in %v", m.Stop.By, life.Rounded(max(0, time.Until(m.KillAt))))
	case life.Exited:
		if m.Stop.Cause != life.CauseUnknown { // while it did not run
			return fmt.Sprintf("stopped (%s) while it waited for a restart; before: %s", m.Stop.By, exit)
		}
		return exit
	case life.Failed:
		if m.Fault != "" {
			return fmt.Sprintf("%s; the last: %s", m.Fault, exit)
		}
		return exit
	}
	return exit
}

func (p *process) logFault() error {
	if log := p.openedLog(); log != nil {
		return log.Fault()
	}
	return nil
}

func (p *process) lastDoubt() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubt
}

func stateOf(s life.State) processv1.State {
	switch s {
	case life.New, life.Starting:
		return processv1.State_STARTING
	case life.Running:
		return processv1.State_RUNNING
	case life.Backoff:
		return processv1.State_BACKOFF
	case life.Stopping:
		return processv1.State_STOPPING
	case life.Exited:
		return processv1.State_EXITED
	case life.Failed:
		return processv1.State_FAILED
	}
	return processv1.State_STATE_UNSPECIFIED
}

func exitReason(e *life.Exit) *processv1.ExitReason {
	if e == nil {
		return nil
	}
	return &processv1.ExitReason{
		Cause:    causeOf(e.Cause),
		Code:     int32(e.Code), //nolint:gosec // G115: exit codes have 8 bits
		Signal:   e.Signal,
		CoreDump: e.CoreDump,
		By:       e.By,
		Message:  e.Message,
		At:       timestamp(e.At),
	}
}

func causeOf(c life.Cause) processv1.Cause {
	switch c {
	case life.CauseUnknown:
		return processv1.Cause_CAUSE_UNSPECIFIED
	case life.CauseExit:
		return processv1.Cause_EXIT
	case life.CauseSignal:
		return processv1.Cause_SIGNAL
	case life.CauseOOM:
		return processv1.Cause_OOM
	case life.CauseRequested:
		return processv1.Cause_REQUESTED
	case life.CauseTimeout:
		return processv1.Cause_TIMEOUT
	case life.CauseUnhealthy:
		return processv1.Cause_UNHEALTHY
	case life.CauseNotStarted:
		return processv1.Cause_NOT_STARTED
	}
	return processv1.Cause_CAUSE_UNSPECIFIED
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
