package turn

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientsTakeTurns(t *testing.T) {
	var l Line[string]
	join := func(names ...string) {
		for _, name := range names {
			l.Join(name[:1], name)
		}
	}
	var served []string
	serve := func(n int) {
		for range n {
			served = append(served, l.At(0))
			l.Serve(0)
		}
	}
	join("a1", "a2", "a3", "a4", "b1", "b2")
	serve(3) // a1 b1 a2
	join("c1", "a5", "b3")
	serve(l.Len())
	if got, want := strings.Join(served, " "), "a1 b1 a2 b2 a3 c1 b3 a4 a5"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(l.clients) != 0 {
		t.Errorf("%d clients are kept", len(l.clients))
	}
}

func TestWhoLeavesOwesNoTurn(t *testing.T) {
	var l Line[string]
	var all []*Ticket[string]
	for range 100 {
		all = append(all, l.Join("a", "gone"))
	}
	l.Join("b", "b")
	for _, ticket := range all {
		if !l.Leave(ticket) || l.Leave(ticket) {
			t.Fatal("a ticket leaves once")
		}
	}
	l.Join("a", "a")
	l.Serve(0)
	if got := l.At(0); got != "a" || l.Len() != 1 {
		t.Errorf("got %q of %d, want a", got, l.Len())
	}
}

// However many wait, nobody is served after more others than there are clients
// for each job that its own client had before it.
func TestNobodyWaitsForAnothersQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const clients = 5
	type job struct{ client, ahead, arrived int }
	var l Line[job]
	var waiting [clients]int
	served := 0
	for step := range 20_000 {
		if l.Len() == 0 || step < 19_000 && random.IntN(2) == 0 {
			c := random.IntN(random.IntN(clients) + 1) // the first ones have the most
			l.Join(string(rune('a'+c)), job{client: c, ahead: waiting[c], arrived: served})
			waiting[c]++
			continue
		}
		j := l.At(0)
		l.Serve(0)
		waiting[j.client]--
		served++
		if behind := served - j.arrived; behind > (j.ahead+2)*clients {
			t.Fatalf("step %d: a job of client %d with %d of its own before it was served after %d others", step, j.client, j.ahead, behind)
		}
	}
}

func TestPlacesAreTakenInTurnAndNeverMoreThanThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPlaces(2)
		var mu sync.Mutex
		var order []string
		running, most := 0, 0
		var group sync.WaitGroup
		work := func(client string) {
			if err := p.Take(t.Context(), client); err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, client)
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			p.Give()
		}
		for range 100 {
			group.Go(func() { work("a") })
		}
		synctest.Wait()
		group.Go(func() { work("b") })
		group.Wait()
		if most != 2 || running != 0 || p.free != 2 {
			t.Errorf("at once: got %d, want 2; %d still run, %d places are free", most, running, p.free)
		}
		if got := strings.Index(strings.Join(order, ""), "b"); got > 4 {
			t.Errorf("the only job of b was served after %d of a", got)
		}
	})
}

func TestWhoGivesUpLeavesNoPlaceBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPlaces(1)
		if err := p.Take(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if err := p.Take(ctx, "a"); !errors.Is(err, cause) {
					t.Errorf("got %v, want the cause", err)
				}
			})
		}
		group.Wait()
		if p.line.Len() != 0 {
			t.Errorf("%d still wait", p.line.Len())
		}
		p.Give()
		if err := p.Take(t.Context(), "b"); err != nil {
			t.Error(err)
		}
	})
}
