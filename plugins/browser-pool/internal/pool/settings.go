package pool

import (
	"context"
	"errors"
	"net"
	"net/url"
	"runtime"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/door"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/download"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	defaultMaxBrowsers  = 8
	defaultMaxTabs      = 100
	defaultMaxUses      = 100
	defaultMaxAge       = time.Hour
	defaultIdleTimeout  = 5 * time.Minute
	defaultSessionIdle  = 5 * time.Minute
	defaultMaxTabMemory = 512 << 20
	defaultMaxDownload  = 100 << 20

	defaultMaxClients    = 100
	defaultMaxClientTabs = 10
	defaultClientIdle    = 10 * time.Minute

	// defaultMemory is for machines whose own is not known.
	defaultMemory = 4 << 30

	// jobsPerCPU: beyond two a processor only latency grows while pages compute;
	// four leave room for those that wait for the network.
	jobsPerCPU = 4

	// warmPerCPU is as many as can be used at once.
	warmPerCPU = 2
)

// options reads config, in which zero and unset mean the default, into those of
// the slots. The bounds of its fields are the host's to check; the error has the
// faults that only this machine knows.
func options(ctx context.Context, config *browserv1.Config) (slot.Options, error) {
	o := slot.Options{
		MaxBrowsers:  intOr(config.GetMaxBrowsers(), defaultMaxBrowsers),
		MaxTabs:      intOr(config.GetMaxTabs(), defaultMaxTabs),
		Warm:         warmPerCPU * runtime.NumCPU(),
		MaxUses:      intOr(config.GetMaxUses(), defaultMaxUses),
		MaxAge:       durationOr(config.GetMaxAge(), defaultMaxAge),
		IdleTimeout:  durationOr(config.GetIdleTimeout(), defaultIdleTimeout),
		Memory:       bytesOr(config.GetMemory(), engine.Total()/2),
		MaxTabMemory: bytesOr(config.GetMaxTabMemory(), defaultMaxTabMemory),
	}
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if config.Warm != nil {
		o.Warm = int(config.GetWarm())
	}
	o.Warm = min(o.Warm, o.MaxTabs)
	o.Launch.NoSandbox, o.Launch.Args = config.GetNoSandbox(), config.GetArgs()
	var outletErr, programsErr error
	o.Outlets, outletErr = outlets(ctx, config)
	o.Programs, o.Default, programsErr = programs(ctx, config)
	return o, errors.Join(outletErr, programsErr)
}

// outlets are the ways out: the rules and what else the config says of the
// network.
func outlets(ctx context.Context, config *browserv1.Config) (*outlet.Rules, error) {
	policy, err := egress.Configure(ctx, "egress", config.GetEgress())
	faults := []error{err}
	rules := &outlet.Rules{Policy: policy, Resolve: make(map[string]string, len(config.GetResolve()))}
	if config.GetProxy() != "" {
		if rules.Proxy, err = parseProxy(config.GetProxy()); err != nil {
			faults = append(faults, sdk.Invalid("proxy", "%v", err))
		}
	}
	for from, to := range config.GetResolve() {
		for _, at := range []string{from, to} {
			if _, _, err := net.SplitHostPort(at); err != nil {
				faults = append(faults, sdk.Invalid("resolve", `%q is no host and port, such as "example.com:443"`, at))
			}
		}
		rules.Resolve[from] = to
	}
	return rules, errors.Join(faults...)
}

// parseProxy reads the URL of a proxy. Its error does not show it: it has a
// password.
func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errProxy
	}
	port, ok := map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
	if !ok {
		return nil, errProxy
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if password, _ := u.User.Password(); u.Scheme == "socks5" && max(len(u.User.Username()), len(password)) > 255 {
		return nil, errors.New("a user and a password have at most 255 bytes each")
	}
	return u, nil
}

var errProxy = errors.New(`a proxy is written as "http://user:password@host:port", or with https or socks5`)

// programs are the browsers that are installed. One that the config names has to
// be; of the others one is enough.
func programs(ctx context.Context, config *browserv1.Config) (map[slot.Engine]engine.Program, slot.Engine, error) {
	found := make(map[slot.Engine]engine.Program)
	var faults []error
	var missing error
	for _, e := range []struct {
		engine      slot.Engine
		path, field string
	}{
		{browserv1.Engine_HEADLESS_SHELL, config.GetHeadlessShell(), "headless_shell"},
		{browserv1.Engine_CHROMIUM, config.GetChromium(), "chromium"},
	} {
		program, err := engine.Find(ctx, e.engine, e.path)
		switch {
		case err == nil:
			found[e.engine] = program
		case e.path != "":
			faults = append(faults, sdk.Invalid(e.field, "%v", err))
		case config.GetEngine() == e.engine || missing == nil && config.GetEngine() == browserv1.Engine_ENGINE_UNSPECIFIED:
			missing = err
		}
	}
	standard := config.GetEngine()
	if standard == browserv1.Engine_ENGINE_UNSPECIFIED {
		standard = browserv1.Engine_HEADLESS_SHELL
		if _, ok := found[standard]; !ok {
			standard = browserv1.Engine_CHROMIUM
		}
	}
	if _, ok := found[standard]; !ok && len(faults) == 0 {
		faults = append(faults, missing)
	}
	return found, standard, errors.Join(faults...)
}

// downloads opens the store for files, if there is to be one.
func downloads(config *browserv1.Downloads) (*download.Store, error) {
	if config == nil {
		return nil, nil //nolint:nilnil // no store is no fault: it refuses all
	}
	if config.GetDir() == "" {
		return nil, sdk.Invalid("downloads.dir", "required")
	}
	if err := download.CheckNames(config.GetNames()); err != nil {
		return nil, sdk.Invalid("downloads.names", "%v", err)
	}
	store, err := download.Open(download.Rules{
		Dir: config.GetDir(), MaxSize: bytesOr(config.GetMaxSize(), defaultMaxDownload), Names: config.GetNames(),
	})
	if err != nil {
		return nil, sdk.Invalid("downloads.dir", "%v", err)
	}
	return store, nil
}

// openDoor opens the door for scripts, if there is to be one.
func (p *Pool) openDoor(ctx context.Context, config *browserv1.CDP, o *slot.Options, slots *slot.Pool) (*door.Door, error) {
	if config == nil {
		return nil, nil //nolint:nilnil // no door is no fault
	}
	token, err := door.Token(config.GetToken(), config.GetTokenFile())
	if err != nil {
		field := "cdp.token"
		if config.GetToken() == "" && config.GetTokenFile() != "" {
			field = "cdp.token_file"
		}
		return nil, sdk.Invalid(field, "%v", err)
	}
	program := o.Programs[o.Default]
	opened, err := door.Open(ctx, door.Options{
		Listen: config.GetListen(), Token: token, Product: "Chrome/" + program.Version, Engine: o.Default,
		MaxClients:  intOr(config.GetMaxClients(), defaultMaxClients),
		MaxTabs:     intOr(config.GetMaxTabs(), defaultMaxClientTabs),
		IdleTimeout: durationOr(config.GetIdleTimeout(), defaultClientIdle),
		Slots:       slots, Outlets: o.Outlets, Meter: p.metrics,
	})
	if err != nil {
		return nil, sdk.Invalid("cdp.listen", "%v", err)
	}
	return opened, nil
}

func intOr(n uint32, standard int) int {
	if n == 0 {
		return standard
	}
	return int(n)
}

func bytesOr(n, standard uint64) uint64 {
	if n == 0 {
		return standard
	}
	return n
}

func durationOr(d *durationpb.Duration, standard time.Duration) time.Duration {
	if d.AsDuration() <= 0 {
		return standard
	}
	return d.AsDuration()
}
