package shape

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// source is a flow with what it wants and what it got, in bytes a second.
type source struct {
	client, host string
	demand       float64 // +Inf for all that there is
	chunk        int
	moving       time.Duration // longest time that it takes to move a grant
	got          float64
}

// play has all sources move bytes for that long, and gives each what it got in
// the time after the first fifth, in which queues form.
func play(t *testing.T, s *Shaper, sources []*source, lasts time.Duration, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	began, moved, before := time.Now(), make([]atomic.Int64, len(sources)), make([]int64, len(sources))
	for i, from := range sources {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		f := s.Join(from.client, from.host)
		go func() {
			defer f.Leave()
			for {
				due := from.demand*max(time.Since(began).Seconds(), 1e-9) - float64(moved[i].Load())
				if due < 1 {
					if !pause(ctx, time.Duration(1+random.Int64N(int64(5*time.Millisecond)))) {
						return
					}
					continue
				}
				n, err := f.Up.Take(ctx, int(min(due, float64(from.chunk))))
				if err != nil {
					return
				}
				unused := random.IntN(n)
				if random.IntN(4) > 0 {
					unused = 0
				}
				f.Up.Return(unused)
				moved[i].Add(int64(n - unused))
				if from.moving > 0 && !pause(ctx, time.Duration(random.Int64N(int64(from.moving)))) {
					return
				}
			}
		}()
	}
	pause(ctx, lasts/5)
	synctest.Wait()
	for i := range moved {
		before[i] = moved[i].Load()
	}
	<-ctx.Done()
	synctest.Wait()
	for i, from := range sources {
		from.got = float64(moved[i].Load()-before[i]) / (lasts - lasts/5).Seconds()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// fill divides a capacity among demands, max-min fair: the reference.
func fill(capacity float64, demands []float64) []float64 {
	order := make([]int, len(demands))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case demands[a] < demands[b]:
			return -1
		case demands[a] > demands[b]:
			return 1
		}
		return 0
	})
	shares := make([]float64, len(demands))
	for i, n := range order {
		shares[n] = min(demands[n], capacity/float64(len(order)-i))
		capacity -= shares[n]
	}
	return shares
}

// wants is what each source should get below a total and a limit per client.
func wants(sources []*source, total float64, limit func(client string) float64) []float64 {
	of := map[string][]int{}
	var clients []string
	for i, s := range sources {
		if of[s.client] == nil {
			clients = append(clients, s.client)
		}
		of[s.client] = append(of[s.client], i)
	}
	var demands []float64
	for _, c := range clients {
		var all float64
		for _, i := range of[c] {
			all += sources[i].demand
		}
		demands = append(demands, min(all, limit(c)))
	}
	want := make([]float64, len(sources))
	for c, share := range fill(total, demands) {
		var each []float64
		for _, i := range of[clients[c]] {
			each = append(each, sources[i].demand)
		}
		for i, share := range fill(share, each) {
			want[of[clients[c]][i]] = share
		}
	}
	return want
}

func bound(rate uint64) float64 {
	if rate == 0 {
		return math.Inf(1)
	}
	return float64(rate)
}

// randomSources are up to 60 flows of up to 6 clients to up to 4 hosts.
func randomSources(random *rand.Rand) []*source {
	var sources []*source
	for range 2 + random.IntN(59) {
		s := &source{
			client: fmt.Sprint("c", random.IntN(6)), host: fmt.Sprint("h", random.IntN(4)),
			demand: math.Inf(1), chunk: 1 << (13 + random.IntN(8)),
		}
		if s.chunk >= 1<<16 {
			s.moving = time.Duration(random.IntN(2)) * time.Millisecond
		}
		if random.IntN(3) == 0 {
			s.demand = math.Exp(random.Float64()*7) * 1000 // 1 KB/s to 1 MB/s
		}
		sources = append(sources, s)
	}
	return sources
}

// randomRate is 100 KB/s to 30 MB/s, or none.
func randomRate(random *rand.Rand) uint64 {
	if random.IntN(3) == 0 {
		return 0
	}
	return uint64(math.Exp(random.Float64()*5.7) * 100_000)
}

func TestSharesAreMaxMinFairBelowTotalAndClients(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sharesAreMaxMinFair(t, seed) })
		})
	}
}

func sharesAreMaxMinFair(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	sources := randomSources(random)
	rules := Rules{
		Total:     Limits{Up: cmp.Or(randomRate(random), 5*mb)},
		PerClient: Limits{Up: randomRate(random)},
		Clients:   map[string]Limits{"c0": {Up: randomRate(random)}},
	}
	s := New()
	s.Set(rules)
	play(t, s, sources, 4*time.Second, seed)
	want := wants(sources, bound(rules.Total.Up), func(client string) float64 {
		if l, ok := rules.Clients[client]; ok {
			return bound(l.Up)
		}
		return bound(rules.PerClient.Up)
	})
	for i, from := range sources {
		grant := min(float64(from.chunk), float64(rules.Total.Up)*longest.Seconds()) // one more or less, in the time that counts
		if math.Abs(from.got-want[i]) > 0.05*want[i]+grant/3.2 {
			t.Errorf("%d flows, %+v: %+v got %.0f, want %.0f", len(sources), rules, *from, from.got, want[i])
		}
	}
}

// With limits of hosts, too, the lines are no tree. There, shares are max-min fair
// when everybody who wants more is at a full line in which nobody has more than
// they: no other client more than theirs, no other flow of their client more than
// theirs.
func TestWhoWantsMoreHasTheMostOfAFullLine(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 2))
				sources := randomSources(random)
				rules := Rules{Total: Limits{Up: randomRate(random)}, PerClient: Limits{Up: randomRate(random)}, PerHost: Limits{Up: cmp.Or(randomRate(random), mb)}}
				s := New()
				s.Set(rules)
				play(t, s, sources, 4*time.Second, seed)
				haveTheMost(t, rules, sources)
			})
		})
	}
}

func haveTheMost(t *testing.T, rules Rules, sources []*source) {
	t.Helper()
	for _, s := range sources {
		lines := []struct {
			name  string
			limit uint64
			in    func(*source) bool
		}{
			{"host", rules.PerHost.Up, func(o *source) bool { return o.host == s.host }},
			{"client", rules.PerClient.Up, func(o *source) bool { return o.client == s.client }},
			{"total", rules.Total.Up, func(*source) bool { return true }},
		}
		content := s.got >= 0.95*s.demand-500
		why := ""
		for _, l := range lines {
			var all, mostOfOne float64
			clients := map[string]float64{}
			for _, o := range sources {
				if !l.in(o) {
					continue
				}
				all += o.got
				clients[o.client] += o.got
				if o.client == s.client {
					mostOfOne = max(mostOfOne, o.got)
				}
			}
			if l.limit > 0 && all > 1.05*float64(l.limit) {
				t.Errorf("%s: %.0f of %d", l.name, all, l.limit)
			}
			mostOfClient := slices.Max(slices.Collect(maps.Values(clients)))
			full := l.limit > 0 && all > 0.95*float64(l.limit)
			content = content || full && clients[s.client] > 0.9*mostOfClient-500 && s.got > 0.8*mostOfOne-500
			why += fmt.Sprintf("; %s: %.0f of %d, client %.0f of %.0f, flow %.0f of %.0f", l.name, all, l.limit, clients[s.client], mostOfClient, s.got, mostOfOne)
		}
		if !content {
			t.Errorf("%+v wants more%s", *s, why)
		}
	}
}
