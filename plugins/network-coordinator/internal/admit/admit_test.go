package admit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// refusal is the error of a connection that is expected to be refused.
func refusal(t *testing.T, a *Admission, client, host string) *Refusal {
	t.Helper()
	leave, err := a.Enter(client, host)
	if err == nil {
		leave()
		t.Fatalf("%q to %q was admitted", client, host)
	}
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Fatalf("got %T %v, want a *Refusal", err, err)
	}
	return r
}

func wantRefusal(t *testing.T, a *Admission, client, host string, by Limit) {
	t.Helper()
	if r := refusal(t, a, client, host); r.Limit != by {
		t.Errorf("got %v, want one by %s", r, by)
	}
}

func enter(t *testing.T, a *Admission, client, host string) (leave func()) {
	t.Helper()
	leave, err := a.Enter(client, host)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

// N3: there was no limit in total; ten thousand hosts were let in.
func TestTheLimitInTotalHoldsOverManyHosts(t *testing.T) {
	a := New(Limits{Connections: 2000})
	admitted := 0
	for i := range 10_000 {
		if _, err := a.Enter("", string(rune(i))); err == nil {
			admitted++
		}
	}
	if admitted != 2000 {
		t.Errorf("got %d connections, want 2000", admitted)
	}
}

// N2: the limit of a host that was not named in the config was not looked at.
func TestTheLimitOfAHostHoldsForEveryHost(t *testing.T) {
	a := New(Limits{ConnectionsPerHost: 5})
	for _, host := range []string{"a", "b"} {
		for range 5 {
			enter(t, a, "", host)
		}
		r := refusal(t, a, "", host)
		if r.Limit != ConnectionsPerHost || r.Open != 5 || r.Most != 5 || r.Host != host {
			t.Errorf("got %+v", r)
		}
	}
}

func TestAClientsOwnLimitReplacesThatOfAllClients(t *testing.T) {
	a := New(Limits{ConnectionsPerClient: 2, Clients: map[string]Client{"more": {Connections: 3}, "less": {Connections: 1}, "same": {}}})
	for client, most := range map[string]int{"more": 3, "less": 1, "same": 2, "": 2, "other": 2} {
		for range most {
			enter(t, a, client, "h")
		}
		if r := refusal(t, a, client, "h"); r.Most != most || r.Client != client {
			t.Errorf("%q: got %+v, want a limit of %d", client, r, most)
		}
	}
}

func TestARefusalNamesLimitValueAndField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twoAMinute := Rate{Events: 2, Per: time.Minute}
		tests := map[string]Limits{
			`1 connections are open, limit 1 (max_connections)`:                                                  {Connections: 1},
			`1 connections to "h" are open, limit 1 (connections_per_host)`:                                      {ConnectionsPerHost: 1},
			`1 connections of client "c" are open, limit 1 (connections_per_client)`:                             {ConnectionsPerClient: 1},
			`1 connections of client "c" are open, limit 1 (client["c"].connections)`:                            {Clients: map[string]Client{"c": {Connections: 1}}},
			`new connections exceed 2 per 1m0s (new_connections); the next one in 30s`:                           {NewConnections: twoAMinute},
			`new connections of client "c" exceed 2 per 1m0s (client["c"].new_connections); the next one in 30s`: {Clients: map[string]Client{"c": {NewConnections: twoAMinute}}},
		}
		for want, limits := range tests {
			a := New(limits)
			enter(t, a, "c", "h")
			if got := refusal(t, a, "c", "h").Error(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func TestARefusalTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Limits{
			Connections: 3, ConnectionsPerHost: 1, NewConnections: Rate{Events: 3, Per: time.Second},
			Clients: map[string]Client{"c": {NewConnections: Rate{Events: 1, Per: time.Hour}}},
		})
		enter(t, a, "c", "h")
		for range 100 {
			wantRefusal(t, a, "other", "h", ConnectionsPerHost)
			wantRefusal(t, a, "c", "i", ClientNewConnections)
		}
		enter(t, a, "", "i") // each of the others still has all that was left
		enter(t, a, "", "j")
		wantRefusal(t, a, "", "k", MaxConnections)
	})
}

// N8: counts of hosts that nobody was connected to any more were kept for ever.
func TestNothingIsRememberedOfThoseWhoLeft(t *testing.T) {
	a := New(Limits{NewConnections: Rate{Events: 1e6, Per: time.Second}, Clients: map[string]Client{"c": {NewConnections: Rate{Events: 1, Per: time.Hour}}}})
	for i := range 1000 {
		leave := enter(t, a, string(rune(i)), string(rune(i)))
		leave()
		leave() // gives nothing back again
	}
	if a.open != 0 || len(a.hosts) != 0 || len(a.clients) != 0 || len(a.rates) != 1 {
		t.Errorf("got %d open, %d hosts, %d clients, %d rates", a.open, len(a.hosts), len(a.clients), len(a.rates))
	}
}

func TestALowerLimitClosesNothingAndRefusesNewOnes(t *testing.T) {
	a := New(Limits{Connections: 10})
	var leave []func()
	for range 10 {
		leave = append(leave, enter(t, a, "", "h"))
	}
	a.Set(Limits{Connections: 5})
	for _, one := range leave[:5] {
		one()
		if r := refusal(t, a, "", "h"); r.Most != 5 {
			t.Fatalf("got %+v", r)
		}
	}
	leave[5]()
	enter(t, a, "", "h")
	a.Set(Limits{})
	for range 100 {
		enter(t, a, "", "h")
	}
}
