package pool

import (
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// All pages of a browser wait for its one thread, which has each line of each
// console in its hands.

func TestAConsoleThatIsFloodedIsNotFollowedFurther(t *testing.T) {
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{})
	events := follow(t, p, id)
	evaluate(t, p, id, `void setInterval(() => { for (let i = 0; i < 500; i++) console.log("x", {a: 1}) })`)
	events.until(t, func(e *browserv1.EventsResponse) bool {
		return e.GetMissed() > 0 || strings.Contains(e.GetConsole().GetText(), "not followed")
	})
	long := durationpb.New(time.Minute)
	if _, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: "about:blank", Timeout: long}); err != nil {
		t.Fatal(err)
	}
	evaluate(t, p, id, `console.log("followed again")`)
	events.until(t, func(e *browserv1.EventsResponse) bool { return e.GetConsole().GetText() == "followed again" })
}

func TestAPageThatFloodsItsConsoleWithoutEndIsEndedAlone(t *testing.T) {
	p := start(t, &browserv1.Config{MaxBrowsers: 1})
	bystander := open(t, p, &browserv1.OpenRequest{})
	evaluate(t, p, bystander, `window.name = "here"`)
	for name, script := range map[string]string{
		"lines":      `for (;;) console.log("x", {a: 1})`,
		"large ones": `for (const text = "x".repeat(10000);;) console.log(text)`,
	} {
		t.Run(name, func(t *testing.T) {
			id := open(t, p, &browserv1.OpenRequest{})
			events := follow(t, p, id)
			evaluate(t, p, id, `void setTimeout(() => { `+script+` })`)
			if got := events.until(t, isEnd).GetEnded(); got != "crashed" {
				t.Errorf("the page: got %q", got)
			}
			response, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{
				Session: bystander, Expression: "window.name", Timeout: durationpb.New(time.Minute),
			})
			if got := response.GetValue().GetStringValue(); err != nil || got != "here" {
				t.Errorf("another page: got %q, %v", got, err)
			}
		})
	}
}
