package page

import (
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestAFaultOfAnActionNamesItsFieldAndTheBound(t *testing.T) {
	target := func(selector string) *browserv1.Target { return &browserv1.Target{Selector: selector} }
	click := func(c *browserv1.ClickRequest) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_Click{Click: c}}
	}
	press := func(key string) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_Press{Press: &browserv1.PressRequest{Keys: []string{"a", key}}}}
	}
	upload := func(files ...*browserv1.File) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_Upload{Upload: &browserv1.UploadRequest{Target: target("b"), Files: files}}}
	}
	navigate := func(n *browserv1.NavigateRequest) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_Navigate{Navigate: n}}
	}
	waitFor := func(w *browserv1.WaitForRequest) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_WaitFor{WaitFor: w}}
	}
	capture := func(c *browserv1.CaptureRequest) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_Capture{Capture: c}}
	}
	cookie := func(c *browserv1.Cookie) *browserv1.Step {
		return &browserv1.Step{Action: &browserv1.Step_SetCookies{SetCookies: &browserv1.SetCookiesRequest{
			Cookies: []*browserv1.Cookie{{Name: "ok", Domain: "a.test"}, c},
		}}}
	}
	for want, step := range map[string]*browserv1.Step{
		"target.selector: required":                                                    click(&browserv1.ClickRequest{Target: target(" ")}),
		"target.timeout: -1s, it is above 0s and at most 24h0m0s":                      click(&browserv1.ClickRequest{Target: &browserv1.Target{Selector: "b", Timeout: durationpb.New(-time.Second)}}),
		"count: 4, it is 1 to 3":                                                       click(&browserv1.ClickRequest{Target: target("b"), Count: 4}),
		`button: "x" is none of left, middle and right`:                                click(&browserv1.ClickRequest{Target: target("b"), Button: "x"}),
		"keys: required":                                                               {Action: &browserv1.Step_Press{Press: &browserv1.PressRequest{}}},
		`keys[1]: no key is called "Entr"; the nearest is "Enter"`:                     press("Entr"),
		`keys[1]: no key is called "arrowdown"; the nearest is "ArrowDown"`:            press("arrowdown"),
		`keys[1]: "Ctrl" is held with no other key; Alt, Control, Meta and Shift are`:  press("Ctrl+A"),
		`keys[1]: a key is required`:                                                   press(""),
		`keys[1]: no key is called "Control+"; the nearest is "Control"`:               press("Control+"),
		"values: required":                                                             {Action: &browserv1.Step_Select{Select: &browserv1.SelectRequest{Target: target("b")}}},
		"files: required":                                                              upload(),
		`files[0].name: "../a", it is a name of at most 255 bytes without directories`: upload(&browserv1.File{Name: "../a"}),
		"files: 16777217 bytes in all, limit 16777216":                                 upload(&browserv1.File{Name: "a", Content: make([]byte, 16<<20+1)}),
		"wait: required, unless url is set":                                            waitFor(&browserv1.WaitForRequest{}),
		"hidden: it is about wait.selector, which is not set":                          waitFor(&browserv1.WaitForRequest{Url: "*", Hidden: true}),
		"expression: required":                                                         {Action: &browserv1.Step_Evaluate{Evaluate: &browserv1.EvaluateRequest{Expression: "  "}}},
		"url: set one of url, back, forward and reload; 0 are":                         navigate(&browserv1.NavigateRequest{}),
		"url: set one of url, back, forward and reload; 2 are":                         navigate(&browserv1.NavigateRequest{Back: true, Reload: true}),
		"url: pages are opened at http and https, and about:blank":                     navigate(&browserv1.NavigateRequest{Url: "file:///etc/passwd"}),
		"picture: set one of picture, print, html and text; 2 are":                     capture(&browserv1.CaptureRequest{Html: true, Text: true}),
		"selector: it goes with text; a picture has a selector of its own":             capture(&browserv1.CaptureRequest{Html: true, Selector: "b"}),
		"picture.quality: 101, it is 1 to 100":                                         capture(&browserv1.CaptureRequest{Picture: &browserv1.Picture{Quality: 101}}),
		"print.scale: 5, it is 0.1 to 2":                                               capture(&browserv1.CaptureRequest{Print: &browserv1.Print{Scale: 5}}),
		"urls[1]: it is no URL of http or https":                                       {Action: &browserv1.Step_Cookies{Cookies: &browserv1.CookiesRequest{Urls: []string{"https://a.test", "a.test"}}}},
		"cookies: required":                                                            {Action: &browserv1.Step_SetCookies{SetCookies: &browserv1.SetCookiesRequest{}}},
		"cookies[1].name: required":                                                    cookie(&browserv1.Cookie{Domain: "a.test"}),
		"cookies[1].domain: set one of domain and url":                                 cookie(&browserv1.Cookie{Name: "a"}),
		`cookies[1].same_site: "lax" is none of Strict, Lax and None`:                  cookie(&browserv1.Cookie{Name: "a", Domain: "a.test", SameSite: "lax"}),
		"cookies[1].expires: it is no time":                                            cookie(&browserv1.Cookie{Name: "a", Domain: "a.test", Expires: &timestamppb.Timestamp{Nanos: -1}}),
	} {
		for _, at := range []string{"", "steps[3]."} {
			err := CheckStep(step, strings.TrimSuffix(at, "."))
			if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != at+want {
				t.Errorf("got %v, want %s", err, at+want)
			}
		}
	}
}

func TestAFaultOfAPagesOptionsNamesItsFieldAndTheBound(t *testing.T) {
	for want, p := range map[string]*browserv1.Page{
		"page.timeout: -31s, it is above 0s and at most 24h0m0s":                     {Timeout: durationpb.New(-31 * time.Second)},
		"page.timeout: 2562047h47m16.854775807s, it is above 0s and at most 24h0m0s": {Timeout: &durationpb.Duration{Seconds: 1 << 40}},
		"page.rules.throttle.latency: -1s, it is 0s or above":                        {Rules: &browserv1.Rules{Throttle: &browserv1.Throttle{Latency: durationpb.New(-time.Second)}}},
		"page.viewport: 0 x 10001, each side is 1 to 10000":                          {Viewport: &browserv1.Viewport{Height: 10001}},
		"page.viewport.scale: 9, it is 0.1 to 8":                                     {Viewport: &browserv1.Viewport{Width: 1, Height: 1, Scale: 9}},
		"page.html: 8388609 bytes, limit 8388608":                                    {Html: strings.Repeat("x", 8<<20+1)},
		`page.headers: "a b" is no name of a header, or its value has a line end`:    {Headers: map[string]string{"a b": "c"}},
		"page.cookies[0].name: required":                                             {Cookies: []*browserv1.Cookie{{}}},
		"page.storage: it is not what Storage returns":                               {Storage: []byte("x")},
	} {
		if err := Check(p, "page"); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
