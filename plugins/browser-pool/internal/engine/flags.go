package engine

import (
	"os"
	"strings"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// quiet keeps a browser from doing anything by itself: no traffic of its own, no
// dialogs, no background work, no files outside its profile.
func quiet() []string {
	return []string{
		"--disable-background-networking", "--disable-breakpad", "--disable-crash-reporter", "--disable-component-update",
		"--disable-client-side-phishing-detection", "--disable-default-apps", "--disable-domain-reliability", "--disable-extensions",
		"--disable-sync", "--no-first-run", "--no-default-browser-check", "--no-pings", "--no-service-autorun", "--metrics-recording-only",
		"--password-store=basic", "--use-mock-keychain", "--safebrowsing-disable-auto-update", "--disable-field-trial-config",
		"--disable-prompt-on-repost", "--disable-hang-monitor", "--disable-popup-blocking", "--disable-search-engine-choice-screen",
		// Pages that nobody looks at run as if somebody did.
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
		// Containers give /dev/shm 64 MB, which a few pages fill.
		"--disable-dev-shm-usage",
		"--disable-gpu", "--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb",
	}
}

// confined keeps the traffic of pages on the proxy that each context has: what
// has none reaches nothing, and no name is looked up here.
func confined() []string {
	return []string{
		"--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=<-loopback>", // discard: nobody listens
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--disable-quic",
		"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp",
	}
}

// features that are off: what loads in the background, what keeps pages of earlier
// jobs alive (the back-forward cache), and RenderDocument, which makes a new frame
// in the renderer for each document: a quarter of the processor time of a job whose
// tab is wiped, and a tenth of that of any other.
func features() string {
	return "--disable-features=" + strings.Join([]string{
		"BackForwardCache", "Translate", "OptimizationHints", "MediaRouter", "DialMediaRouteProvider", "InterestFeedContentSuggestions",
		"CertificateTransparencyComponentUpdater", "AutofillServerCommunication", "HttpsUpgrades", "PaintHolding", "Prerender2", "AsyncDns", "RenderDocument",
	}, ",")
}

// settings keep what is selected in a page from being pasted by a click of the
// middle button in any other. Of several such arguments the browser takes the last.
func settings(args []string) string {
	const name = "--blink-settings="
	all := name
	for _, arg := range args {
		if strings.HasPrefix(arg, name) {
			all = arg + ","
		}
	}
	return all + "selectionClipboardBufferAvailable=false,middleClickPasteAllowed=false"
}

// arguments are all those of a browser.
func (o *Options) arguments(profile string) []string {
	args := append([]string{"--remote-debugging-pipe", "--user-data-dir=" + profile, features()}, quiet()...)
	args = append(args, confined()...)
	if o.Program.Engine == browserv1.Engine_CHROMIUM {
		args = append(args, "--headless=new")
	}
	if o.NoSandbox || NeedsNoSandbox() {
		args = append(args, "--no-sandbox")
	}
	return append(append(args, o.Args...), settings(o.Args))
}

// NeedsNoSandbox reports whether Chromium's sandbox cannot run here: it does not
// as root.
func NeedsNoSandbox() bool { return os.Getuid() == 0 }
