package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
)

// TestTheTimeOfABodyIsNotThatOfItsCall has calls that take longer than their
// bodies may: the server watches the connection, and would take the end of that
// time for the end of the caller.
func TestTheTimeOfABodyIsNotThatOfItsCall(t *testing.T) {
	const patience = 100 * time.Millisecond
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := newInput(w, r, &subsystem{}, &method{}, nil).body
		b.share = bodies.New(bodies.Size).Share()
		b.expect(patience)
		_, err := io.Copy(io.Discard, b)
		select {
		case <-r.Context().Done():
			_, _ = io.WriteString(w, "cut")
		case <-time.After(3 * patience):
			if err == nil {
				_, _ = io.WriteString(w, "whole")
			}
		}
	}))
	defer s.Close()
	for _, body := range []io.Reader{nil, strings.NewReader("x"), io.MultiReader(strings.NewReader("x"))} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(w.Body); string(got) != "whole" {
			t.Errorf("got %q, %v", got, err)
		}
		w.Body.Close()
	}
}

func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := newInput(w, r, &subsystem{}, &method{}, nil)
		in.body.share = bodies.New(bodies.Size).Share()
		in.body.expect(50 * time.Millisecond)
		_, err := io.Copy(io.Discard, in.body)
		writeError(w, in.explain(r.Context(), err), nil)
	}))
	defer s.Close()
	reader, writer := io.Pipe()
	defer writer.Close()
	go func() { _, _ = writer.Write([]byte("x")) }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("got %d", w.StatusCode)
	}
}
