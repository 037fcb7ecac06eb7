package processes

import (
	"cmp"
	"strings"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// plan is what a StartRequest says, with the defaults of process.proto.
type plan struct {
	rules  life.Rules
	signal syscall.Signal // that asks for the end
	grace  time.Duration
	logs   logs.Policy
	tty    bool
	stdin  bool
	ready  *probe // nil for none
	live   *probe
}

const (
	defaultBackoff     = 50 * time.Millisecond
	defaultMaxBackoff  = 30 * time.Second
	defaultStableAfter = 10 * time.Second
	defaultExits       = 10
	defaultWithin      = time.Minute
	defaultGrace       = 10 * time.Second
	maxGrace           = 10 * time.Minute
	maxExits           = 100 // each of them is kept with its time
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// planOf reads a request. Whether its command is allowed is seen at the start.
func planOf(r *processv1.StartRequest) (plan, error) {
	if err := checkName(r.GetName()); err != nil {
		return plan{}, err
	}
	if size := proto.Size(r); size > maxRequest {
		return plan{}, invalid("the request has %d bytes, limit %d; put what is large into a file", size, maxRequest)
	}
	spec := r.GetSpec()
	if spec.GetTty() && spec.GetStdin() {
		return plan{}, invalid("spec.stdin: the terminal (spec.tty) is its standard input; write to it with Attach")
	}
	p := plan{tty: spec.GetTty(), stdin: spec.GetStdin()}
	var err error
	if p.signal, p.grace, err = stopPolicy(r.GetStop()); err != nil {
		return plan{}, err
	}
	if p.rules, err = rulesOf(r); err != nil {
		return plan{}, err
	}
	p.rules.Grace = p.grace
	if p.logs, err = logPolicy(r.GetLogs()); err != nil {
		return plan{}, err
	}
	if p.ready, err = probeOf("ready", r.GetReady()); err != nil {
		return plan{}, err
	}
	if p.live, err = probeOf("live", r.GetLive()); err != nil {
		return plan{}, err
	}
	p.rules.HasReady = p.ready != nil
	return p, nil
}

// checkName holds names to what is a file name, and no hidden one, and a group's.
func checkName(name string) error {
	valid := len(name) > 0 && len(name) <= 100 && name[0] != '.'
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0)
	}
	if !valid {
		return invalid(`name: %.120q is not 1 to 100 letters, digits, ".", "_" and "-", the first of them not "."`, name)
	}
	return nil
}

// stopPolicy returns the signal and the grace of a policy, which may be nil.
func stopPolicy(s *processv1.StopPolicy) (syscall.Signal, time.Duration, error) {
	signal := syscall.SIGTERM
	if name := s.GetSignal(); name != "" {
		var err error
		if signal, err = parseSignal(name); err != nil {
			return 0, 0, invalid("stop.signal: %v", err)
		}
	}
	grace, err := duration("stop.grace", s.GetGrace(), defaultGrace, 0, maxGrace)
	return signal, grace, err
}

// duration returns a field's value between the bounds, or the standard if it is
// unset.
func duration(field string, d *durationpb.Duration, standard, low, high time.Duration) (time.Duration, error) {
	if d == nil {
		return standard, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, invalid("%s: %v", field, err)
	}
	if v := d.AsDuration(); v < low || v > high {
		return 0, invalid("%s: %v is not between %v and %v", field, v, low, high)
	}
	return d.AsDuration(), nil
}

// forever is more than anybody waits.
const forever = 100 * 365 * 24 * time.Hour

func rulesOf(r *processv1.StartRequest) (life.Rules, error) {
	policy := r.GetRestart()
	rules := life.Rules{
		Exits:        int(max(cmp.Or(policy.GetExits(), defaultExits), 0)),
		SuccessCodes: policy.GetSuccessCodes(),
	}
	if rules.Exits > maxExits {
		return rules, invalid("restart.exits: %d, at most %d, or a negative number for no limit", rules.Exits, maxExits)
	}
	switch policy.GetWhen() {
	case processv1.When_WHEN_UNSPECIFIED, processv1.When_NEVER:
		rules.When = life.Never
	case processv1.When_ON_FAILURE:
		rules.When = life.OnFailure
	case processv1.When_ALWAYS:
		rules.When = life.Always
	default:
		return rules, invalid("restart.when: there is no %d", policy.GetWhen())
	}
	for _, d := range []struct {
		field    string
		value    *durationpb.Duration
		standard time.Duration
		low      time.Duration
		to       *time.Duration
	}{
		{"restart.backoff", policy.GetBackoff(), defaultBackoff, time.Millisecond, &rules.Backoff},
		{"restart.max_backoff", policy.GetMaxBackoff(), defaultMaxBackoff, time.Millisecond, &rules.MaxBackoff},
		{"restart.stable_after", policy.GetStableAfter(), defaultStableAfter, time.Millisecond, &rules.StableAfter},
		{"restart.within", policy.GetWithin(), defaultWithin, time.Millisecond, &rules.Within},
		{"timeout", r.GetTimeout(), 0, time.Millisecond, &rules.Timeout},
	} {
		var err error
		if *d.to, err = duration(d.field, d.value, d.standard, d.low, forever); err != nil {
			return rules, err
		}
	}
	return rules, nil
}

func logPolicy(l *processv1.LogPolicy) (logs.Policy, error) {
	policy := logs.Policy{
		SegmentSize: int64(min(l.GetSegmentSize(), 1<<60)),
		MaxSize:     int64(min(l.GetMaxSize(), 1<<60)),
	}
	switch l.GetWhenSlow() {
	case processv1.Slow_BLOCK:
		policy.WhenSlow = logs.Block
	case processv1.Slow_DROP:
		policy.WhenSlow = logs.Drop
	case processv1.Slow_SLOW_UNSPECIFIED, processv1.Slow_SPILL:
		policy.WhenSlow = logs.Spill
	default:
		return policy, invalid("logs.when_slow: there is no %d", l.GetWhenSlow())
	}
	if policy.SegmentSize != 0 && policy.SegmentSize < minSegment {
		return policy, invalid("logs.segment_size: %d bytes, at least %d", policy.SegmentSize, minSegment)
	}
	var err error
	if policy.SegmentAge, err = duration("logs.segment_age", l.GetSegmentAge(), 0, time.Second, forever); err != nil {
		return policy, err
	}
	policy.MaxAge, err = duration("logs.max_age", l.GetMaxAge(), 0, time.Second, forever)
	return policy, err
}

// minSegment keeps a log from becoming a directory of tiny files.
const minSegment = 4 << 10
