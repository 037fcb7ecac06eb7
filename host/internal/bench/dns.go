package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"golang.org/x/sync/errgroup"
)

const (
	dnsNames   = 1000
	dnsSockets = 8
	dnsAtOnce  = 25 // unanswered, of each socket
	dnsTTL     = 3600
)

// dnsConfig is a house that resolves for other programs, and asks one server.
const dnsConfig = `
subsystem "` + networkSubsystem + `" {
  plugin = "` + networkPlugin + `"
  config {
    resolver {
      listen    = "127.0.0.1:%d"
      upstreams = ["udp://%s"]
    }
  }
}
`

// dnsHits measures answers from the cache, over UDP.
func dnsHits(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = dispatchRounds
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	upstream, err := newNameServer(ctx)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	defer func() { err = errors.Join(err, upstream.close()) }()
	resolvers, err := resolvers(ctx, o, upstream.address)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	defer func() {
		for _, r := range resolvers {
			err = errors.Join(err, r.close())
		}
	}()
	o.progress("dns: %d sockets ask for %d names, %d rounds of %v", dnsSockets, dnsNames, o.Rounds, o.Round)
	rounds := make([][]Figures, len(resolvers))
	for round := range o.Rounds + 1 {
		for i, r := range resolvers {
			asked := upstream.asked.Load()
			figures, err := r.load(ctx, o.Round)
			if err != nil {
				return nil, fmt.Errorf("dns: %s: %w", r.what, err)
			}
			figures["upstream"] = float64(upstream.asked.Load() - asked)
			if round > 0 { // the first one fills the cache
				rounds[i] = append(rounds[i], figures)
			}
		}
	}
	t := Table{Title: fmt.Sprintf("%d names in the cache, %d queries at once", dnsNames, dnsSockets*dnsAtOnce), Columns: []Column{
		{Name: "answers_per_second", Head: "ANSWERS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "cpu_us", Head: "RESOLVER'S CPU/ANSWER", Unit: "µs", Digits: 1},
		{Name: "lost", Head: "LOST"},
		{Name: "upstream", Head: "ASKED UPSTREAM"},
	}}
	for i, r := range resolvers {
		ratios(rounds[i], rounds[len(rounds)-1], "answers_per_second")
		t.Rows = append(t.Rows, medians(r.what, rounds[i]))
	}
	return &Result{Name: "dns", Machine: machine(), Tables: []Table{t}}, nil
}

// resolver answers by UDP.
type resolver struct {
	what    string
	address string
	pid     int
	close   func() error
}

// dnsmasq is the resolver to be compared with.
func dnsmasq(upstream string) recipe {
	return recipe{
		what: "dnsmasq", program: "dnsmasq",
		config: func(_ string, port int) string {
			host, upstreamPort, _ := net.SplitHostPort(upstream) // it is one
			return fmt.Sprintf("port=%d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\ncache-size=10000\ndns-forward-max=10000\nserver=%s#%s\n", port, host, upstreamPort)
		},
		arguments: func(config string, _ int) []string {
			return []string{"--keep-in-foreground", "--conf-file=" + config, "--pid-file", "--user=", "--log-facility=-"}
		},
	}
}

// resolvers are ours and, last, the one that ours is compared with.
func resolvers(ctx context.Context, o Options, upstream string) (all []*resolver, err error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	h, err := open(ctx, o, fmt.Sprintf(dnsConfig, port, upstream))
	if err != nil {
		return nil, err
	}
	all = []*resolver{{what: "gaia", address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), close: h.close}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	s, err := h.await(ctx, networkSubsystem, func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY })
	if err != nil {
		return nil, err
	}
	all[0].pid = int(s.GetPid())
	peer := dnsmasq(upstream)
	if _, err := exec.LookPath(peer.program); err != nil {
		o.progress("dns: %s is not installed", peer.what)
		return all, nil
	}
	masq, err := peer.serve(ctx, accepts) // it listens on TCP, too
	if err != nil {
		return nil, err
	}
	return append(all, &resolver{what: masq.what, address: masq.address, pid: masq.cmd.Process.Pid, close: masq.close}), nil
}

// load asks for names for a while, by all sockets at once.
func (r *resolver) load(ctx context.Context, length time.Duration) (Figures, error) {
	before, known := cpuTime([]int{r.pid})
	began := time.Now()
	askers := make([]*asker, dnsSockets)
	group, ctx := errgroup.WithContext(ctx)
	for i := range askers {
		a, err := newAsker(ctx, r.address, i*dnsNames/dnsSockets)
		if err != nil {
			return nil, err
		}
		askers[i] = a
		group.Go(func() error { return errors.Join(a.run(began, length), a.close()) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	answers, lost := 0, 0
	for _, a := range askers {
		answers += a.answers
		lost += a.lost
	}
	if answers == 0 {
		return nil, errors.New("no answer")
	}
	figures := Figures{"answers_per_second": float64(answers) / took.Seconds(), "lost": float64(lost)}
	if after, still := cpuTime([]int{r.pid}); known && still {
		figures["cpu_us"] = microseconds(after-before) / float64(answers)
	}
	return figures, nil
}
