package session

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
)

func line(text string) *browserv1.EventsResponse {
	return &browserv1.EventsResponse{Event: &browserv1.EventsResponse_Console{Console: &browserv1.Console{Text: text}}}
}

// followed returns a feed with somebody who follows it.
func followed() (*feed, *Follower) {
	f := &Follower{feed: &feed{}, wake: make(chan struct{}, 1)}
	f.feed.followers = map[*Follower]bool{f: true}
	return f.feed, f
}

// take returns what there is to take, as texts.
func take(t *testing.T, f *Follower) []string {
	t.Helper()
	events, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		switch {
		case e.GetMissed() > 0:
			texts = append(texts, fmt.Sprint("missed ", e.GetMissed()))
		case e.GetEnded() != "":
			texts = append(texts, "ended "+e.GetEnded())
		default:
			texts = append(texts, e.GetConsole().GetText())
		}
	}
	return texts
}

func TestAFollowerIsToldWhereItMissedEvents(t *testing.T) {
	feed, f := followed()
	feed.publish(line("first"))
	for range maxQueue + 6 {
		feed.publish(line("x"))
	}
	got := take(t, f)
	if len(got) != maxQueue+1 || got[0] != "first" || got[maxQueue] != "missed 7" {
		t.Errorf("got %d events, the last %q; want %d and missed 7", len(got), got[len(got)-1], maxQueue+1)
	}
	feed.publish(line("later"))
	if diff := cmp.Diff([]string{"later"}, take(t, f)); diff != "" {
		t.Errorf("then (-want +got):\n%s", diff)
	}
}

func TestWhatWaitsForAFollowerIsBounded(t *testing.T) {
	feed, f := followed()
	const size = 60 << 10
	for range 100 {
		feed.publish(line(strings.Repeat("x", size)))
	}
	got := take(t, f)
	if n := len(got) - 1; n*size > maxQueueBytes || (n+2)*size < maxQueueBytes {
		t.Errorf("got %d events of %d bytes, want about %d bytes in all", n, size, maxQueueBytes)
	}
	if want := fmt.Sprint("missed ", 100-len(got)+1); got[len(got)-1] != want {
		t.Errorf("last: got %q, want %q", got[len(got)-1], want)
	}
}

func TestTheEndComesLastAndOnce(t *testing.T) {
	feed, f := followed()
	feed.publish(line("a"))
	feed.close(Idle)
	feed.publish(line("too late"))
	if diff := cmp.Diff([]string{"a", "ended idle"}, take(t, f)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := f.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: got %v, want io.EOF", err)
	}
	f.Close()
}

func TestAnIDIsNeverShownWhole(t *testing.T) {
	for id, want := range map[string]string{"": `""`, "abc": "…", "ABCDEFGHIJ": "ABCDEF…", "abcde\xff\xfe": "abcde…"} {
		if got := short(id); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}
