package pool

import (
	"slices"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func stepEvaluate(expression string) *browserv1.Step {
	return &browserv1.Step{Action: &browserv1.Step_Evaluate{Evaluate: &browserv1.EvaluateRequest{Expression: expression}}}
}

func stepCapture(capture *browserv1.CaptureRequest) *browserv1.Step {
	return &browserv1.Step{Action: &browserv1.Step_Capture{Capture: capture}}
}

func TestRunTakesStepsAndReturnsAResultOfEach(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>one</title>`, "/two": `<title>two</title><p>The second page.`})
	response, err := p.Run(t.Context(), &browserv1.RunRequest{
		Url: url + "/",
		Steps: []*browserv1.Step{
			stepEvaluate(`document.title`),
			{Action: &browserv1.Step_Navigate{Navigate: &browserv1.NavigateRequest{Url: url + "/two"}}},
			stepCapture(&browserv1.CaptureRequest{Text: true}),
			stepCapture(&browserv1.CaptureRequest{Html: true}),
			stepCapture(&browserv1.CaptureRequest{Picture: &browserv1.Picture{}}),
			stepCapture(&browserv1.CaptureRequest{Print: &browserv1.Print{}}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	results := response.GetResults()
	if len(results) != 6 {
		t.Fatalf("got %d results, want 6: %v", len(results), results)
	}
	for i, r := range results {
		if r.GetCode() != 0 || r.GetTook().AsDuration() <= 0 {
			t.Errorf("step %d: code %d (%s), took %v", i, r.GetCode(), r.GetMessage(), r.GetTook().AsDuration())
		}
	}
	if got := results[0].GetEvaluate().GetValue().GetStringValue(); got != "one" {
		t.Errorf("evaluate: got %q", got)
	}
	if got := results[1].GetNavigate().GetPage(); got.GetTitle() != "two" || got.GetEngine() == "" {
		t.Errorf("navigate: got %v", got)
	}
	for i, prefix := range map[int]string{2: "The second page.", 3: "<html>", 4: "\x89PNG", 5: "%PDF-"} {
		if got := string(results[i].GetCapture().GetContent()); !strings.HasPrefix(got, prefix) {
			t.Errorf("step %d: got %.20q, want %q", i, got, prefix)
		}
	}
	if response.GetPage().GetTitle() != "two" || response.GetCost().GetAttempts() != 1 || response.GetCost().GetRequests() < 2 {
		t.Errorf("got %v, cost %v", response.GetPage(), response.GetCost())
	}
}

func TestRunEndsWithTheFirstStepThatFails(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>one</title>`})
	for name, test := range map[string]struct {
		step *browserv1.Step
		want codes.Code
	}{
		"throws": {stepEvaluate(`(() => { throw new Error("no") })()`), codes.FailedPrecondition},
		"loops": {&browserv1.Step{Action: &browserv1.Step_Evaluate{Evaluate: &browserv1.EvaluateRequest{
			Expression: `(() => { for (;;) {} })()`, Timeout: durationpb.New(200 * time.Millisecond),
		}}}, codes.DeadlineExceeded},
		"away": {&browserv1.Step{Action: &browserv1.Step_Navigate{Navigate: &browserv1.NavigateRequest{Url: "http://127.0.0.1:2/"}}}, codes.Unavailable},
	} {
		response, err := p.Run(t.Context(), &browserv1.RunRequest{
			Url: url + "/", Page: &browserv1.Page{Client: "a"},
			Steps: []*browserv1.Step{stepEvaluate(`"first"`), test.step, stepEvaluate(`"never"`)},
		})
		if err != nil || len(response.GetResults()) != 2 {
			t.Errorf("%s: got %v, %v; want 2 results", name, response, err)
			continue
		}
		last := response.GetResults()[1]
		if codes.Code(last.GetCode()) != test.want || last.GetMessage() == "" || last.GetResult() != nil {
			t.Errorf("%s: got %v, want %v", name, last, test.want)
		}
		if response.GetResults()[0].GetEvaluate().GetValue().GetStringValue() != "first" || response.GetPage() == nil || response.GetCost().GetRequests() == 0 {
			t.Errorf("%s: got %v", name, response)
		}
	}
}

func TestARunWhosePageCannotBeOpenedIsAnError(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	_, err := p.Run(t.Context(), &browserv1.RunRequest{Url: "http://10.0.0.7/", Steps: []*browserv1.Step{stepEvaluate("1")}})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want PermissionDenied", err)
	}
}

func TestTheResultsOfARunAreBounded(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	steps := slices.Repeat([]*browserv1.Step{stepEvaluate(`"x".repeat(8e6)`)}, 12)
	response, err := p.Run(t.Context(), &browserv1.RunRequest{Steps: steps})
	if err != nil || len(response.GetResults()) != 9 {
		t.Fatalf("got %d results, %v; want 9", len(response.GetResults()), err)
	}
	if last := response.GetResults()[8]; codes.Code(last.GetCode()) != codes.ResourceExhausted {
		t.Errorf("got %v (%s), want ResourceExhausted", codes.Code(last.GetCode()), last.GetMessage())
	}
}

func TestStepsAreCheckedBeforeAnyIsTaken(t *testing.T) {
	p := New() // it has no browser, which is what the others are told
	target := &browserv1.Target{Selector: "#a"}
	for want, step := range map[string]*browserv1.Step{
		"steps[1].action: required":                {},
		"steps[1].click.session: not set":          {Action: &browserv1.Step_Click{Click: &browserv1.ClickRequest{Session: "x", Target: target}}},
		"steps[1].click.target.selector: required": {Action: &browserv1.Step_Click{Click: &browserv1.ClickRequest{}}},
		"steps[1].press.keys[0]: no key is called": {Action: &browserv1.Step_Press{Press: &browserv1.PressRequest{Keys: []string{"Entr"}}}},
	} {
		_, err := p.Run(t.Context(), &browserv1.RunRequest{Steps: []*browserv1.Step{stepEvaluate("1"), step}})
		if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), want) {
			t.Errorf("got %v, want InvalidArgument %q", err, want)
		}
	}
	for n, want := range map[int]codes.Code{0: codes.InvalidArgument, 1000: codes.Unavailable, 1001: codes.InvalidArgument} {
		steps := slices.Repeat([]*browserv1.Step{stepEvaluate("1")}, n)
		if _, err := p.Run(t.Context(), &browserv1.RunRequest{Steps: steps}); status.Code(err) != want {
			t.Errorf("%d steps: got %v, want %v", n, err, want)
		}
	}
}
