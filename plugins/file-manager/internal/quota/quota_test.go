package quota

import (
	"errors"
	"sync"
	"testing"
)

func TestReservationsNeverExceedTheLimitTogether(t *testing.T) {
	a := NewAccount(1000)
	a.Set(100, 1)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			r := a.Reserve()
			defer r.Release()
			if r.Cover(30) != nil || r.Cover(50) != nil {
				return
			}
			r.Settle(45, 1)
		})
	}
	all.Wait()
	used, files := a.Used()
	if used > 1000 || (used-100)%45 != 0 || files != 1+(used-100)/45 || a.reserved != 0 {
		t.Errorf("got %d bytes in %d files, %d reserved", used, files, a.reserved)
	}
}

func TestAnExceededReservationKeepsWhatItHad(t *testing.T) {
	a := NewAccount(100)
	r := a.Reserve()
	if err := r.Cover(60); err != nil {
		t.Fatal(err)
	}
	err := r.Cover(101)
	if exceeded, ok := errors.AsType[*Exceeded](err); !ok || *exceeded != (Exceeded{Wanted: 41, Used: 60, Limit: 100}) {
		t.Errorf("got %v, want 41 more over 60 of 100", err)
	}
	r.Settle(60, 1)
	r.Release()
	a.Add(-80, -2) // more than there was, as when another program has added files
	if used, files := a.Used(); used != 0 || files != 0 {
		t.Errorf("got %d bytes in %d files, want none", used, files)
	}
}

func TestWithoutALimitNothingIsRefused(t *testing.T) {
	r := NewAccount(0).Reserve()
	if err := r.Cover(1 << 62); err != nil {
		t.Error(err)
	}
}
