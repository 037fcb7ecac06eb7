package devtools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp/jsonv2"
)

// peer answers each command with the messages that answer makes of it.
func peer(t *testing.T, handle Handler, answer func(command string) []string) *Conn {
	t.Helper()
	commandsIn, commands := io.Pipe()
	messages, messagesOut := io.Pipe()
	c := NewConn(messages, commands, handle)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run()
	}()
	go func() {
		defer messagesOut.Close()
		lines := bufio.NewReader(commandsIn)
		for {
			command, err := lines.ReadString(0)
			if err != nil {
				return
			}
			for _, message := range answer(command) {
				if _, err := messagesOut.Write([]byte(message + "\x00")); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		_ = commandsIn.Close()
		_ = messages.Close()
		<-ended
	})
	return c
}

func id(command string) (n int) {
	_, _ = fmt.Sscanf(command, `{"id":%d`, &n)
	return n
}

func TestEventsAreHandledBeforeTheAnswerThatCameAfterThem(t *testing.T) {
	var events []string
	c := peer(t, func(e Event) { events = append(events, e.Method) }, func(command string) []string {
		return []string{`{"method":"A.one","params":{}}`, `{"method":"A.two","params":{}}`, fmt.Sprintf(`{"id":%d,"result":{"x":1}}`, id(command))}
	})
	var result struct{ X int }
	if err := c.Call(t.Context(), "A.do", nil, &result); err != nil || result.X != 0 && result.X != 1 {
		t.Fatal(result, err)
	}
	if got := strings.Join(events, " "); got != "A.one A.two" {
		t.Errorf("events: got %q", got)
	}
}

func TestTheEndOfASessionFailsItsCallsAtOnce(t *testing.T) {
	sent := make(chan struct{})
	c := peer(t, nil, func(string) []string { close(sent); return nil })
	s := c.Open("S", nil)
	why := errors.New("crashed")
	go func() {
		<-sent
		s.End(why)
	}()
	if err := s.Call(t.Context(), "Page.navigate", nil, nil); !errors.Is(err, why) {
		t.Errorf("in flight: got %v", err)
	}
	if err := s.Call(t.Context(), "Page.navigate", nil, nil); !errors.Is(err, why) || s.Err() == nil {
		t.Errorf("later: got %v", err)
	}
	if len(c.calls) != 0 {
		t.Errorf("%d calls are kept", len(c.calls))
	}
}

func TestACallEndsWithItsContextAndIsForgotten(t *testing.T) {
	c := peer(t, nil, func(string) []string { return nil })
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("too slow")
	cancel(cause)
	if err := c.Call(ctx, "A.do", nil, nil); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if len(c.calls) != 0 {
		t.Errorf("%d calls are kept", len(c.calls))
	}
}

func TestTheEndOfTheBrowserFailsEverything(t *testing.T) {
	c := peer(t, nil, func(string) []string { return []string{"not JSON"} })
	if err := c.Call(t.Context(), "A.do", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if s := c.Open("S", nil); !errors.Is(s.Err(), ErrClosed) {
		t.Errorf("a later session: got %v", s.Err())
	}
}

func TestAnAnswerThatIsTooLongFailsItsCallAlone(t *testing.T) {
	messages := newReader(strings.NewReader(`{"id":7,"result":"` + strings.Repeat("x", 200_000) + "\"}\x00{\"id\":8}\x00"))
	messages.limit = 100_000
	head, err := messages.next()
	if !errors.Is(err, errTooLong) || headID(head) != 7 {
		t.Errorf("got %d, %v", headID(head), err)
	}
	if text, err := messages.next(); err != nil || string(text) != `{"id":8}` {
		t.Errorf("the next one: got %q, %v", text, err)
	}
}

func TestABatchSendsAllBeforeItWaits(t *testing.T) {
	var held []string
	c := peer(t, nil, func(command string) []string {
		held = append(held, fmt.Sprintf(`{"id":%d,"result":{}}`, id(command)))
		if len(held) < 3 {
			return nil
		}
		held[1] = strings.Replace(held[1], `"result":{}`, `"error":{"code":-1,"message":"no"}`, 1)
		return held
	})
	err := c.Batch(t.Context(), Command{Method: "A.a"}, Command{Method: "A.b", Params: jsonv2.Value(`{}`)}, Command{Method: "A.c"})
	if err == nil || !strings.Contains(err.Error(), "A.b: ") {
		t.Errorf("got %v, want that of A.b", err)
	}
}
