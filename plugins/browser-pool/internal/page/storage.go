package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxStorage is the longest login, in bytes of JSON.
	maxStorage = 16 << 20

	// maxPlaces is how many origins a login is from.
	maxPlaces = 256

	// storageVersion is of the JSON. One that is newer is not for us.
	storageVersion = 1
)

var errLeft = errors.New("the window has been closed")

// login is what Storage saves. Cookies are as the browser sets them
// (Network.CookieParam of the DevTools protocol); what the origins have stored is
// written and read by storage.js.
type login struct {
	Version int                    `json:"version"`
	Cookies []*network.CookieParam `json:"cookies,omitempty"`
	Origins []stored               `json:"origins,omitempty"`
}

type stored struct {
	place

	Stores json.RawMessage `json:"stores"`
}

// place is an origin that may have stored something. What a frame of another site
// has stored is its own below each site.
type place struct {
	Origin string `json:"origin"`        // "https://example.com"
	Top    string `json:"top,omitempty"` // origin of the page that the frame was in; "" without another site's
}

// visited notes that a document from a URL was in the page, or in a frame of it.
func (t *Tab) visited(address string, isMain bool) {
	at := place{Origin: originOf(address)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if top := originOf(t.url); !isMain && top != "" && siteOf(top) != siteOf(at.Origin) {
		at.Top = top
	}
	if at.Origin == "" || len(t.places) > maxPlaces || slices.Contains(t.places, at) {
		return
	}
	t.places = append(t.places, at) // one more than may be: then it is known that some are missing
}

// originOf is the origin of a URL of http or https, without a port that needs not
// be said, or "".
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	host := u.Host
	if port := u.Port(); port == "80" && u.Scheme == "http" || port == "443" && u.Scheme == "https" {
		host = host[:len(host)-len(port)-1]
	}
	return u.Scheme + "://" + host
}

func siteOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return Site(u.Scheme, u.Hostname())
}

// Storage returns what makes up a login, as JSON for Page.storage: the cookies of
// the tab's browser context, and what the origins have stored that its pages and
// their frames were from. The same login is the same bytes. The page stays as it
// is; no server is asked. What cannot be saved is an error that names it.
func (t *Tab) Storage(ctx context.Context) ([]byte, error) {
	saved := login{Version: storageVersion}
	found, err := t.cookies(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range found {
		saved.Cookies = append(saved.Cookies, settable(c))
	}
	t.mu.Lock()
	places := slices.Clone(t.places)
	t.mu.Unlock()
	if len(places) > maxPlaces {
		return nil, status.Errorf(codes.FailedPrecondition, "storage: the pages were of more than %d origins", maxPlaces)
	}
	if len(places) > 0 {
		if saved.Origins, err = t.save(ctx, places); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(saved)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "internal: storage: %v", err)
	}
	if len(text) > maxStorage {
		return nil, status.Errorf(codes.ResourceExhausted, "storage: %d bytes, limit %d", len(text), maxStorage)
	}
	return text, nil
}

// save is what places have stored, without those that have nothing.
func (t *Tab) save(ctx context.Context, places []place) ([]stored, error) {
	slices.SortFunc(places, func(a, b place) int { return slices.Compare([]string{a.Top, a.Origin}, []string{b.Top, b.Origin}) })
	w, err := t.window(ctx)
	if err != nil {
		return nil, err
	}
	defer w.leave()
	var all []stored
	for _, p := range places {
		text, err := w.ask(ctx, p, "save", maxStorage)
		if _, isStatus := status.FromError(err); !isStatus {
			err = status.Errorf(codes.FailedPrecondition, "storage: %v", err)
		}
		if err != nil {
			return nil, err
		}
		if text != "{}" {
			all = append(all, stored{place: p, Stores: json.RawMessage(text)})
		}
	}
	return all, nil
}

// restore puts a saved login into a tab whose page nobody has opened yet.
func (t *Tab) restore(ctx context.Context, text []byte) error {
	saved, err := parseStorage(text)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "page.storage: %v", err)
	}
	if err := t.setCookies(ctx, "page.storage: cookies", saved.Cookies); err != nil {
		return err
	}
	if len(saved.Origins) == 0 {
		return nil
	}
	if err := t.bridge(ctx, true); err != nil {
		return t.Fault(ctx, err, "the tab")
	}
	for _, o := range saved.Origins {
		_, err := t.ask(ctx, o.place, "load", string(o.Stores))
		if _, isStatus := status.FromError(err); !isStatus {
			err = status.Errorf(codes.InvalidArgument, "page.storage: %v", err)
		}
		if err != nil {
			if unclean := t.clean(ctx); unclean != nil {
				return unclean // such a tab is not to be used again
			}
			return err
		}
	}
	if err := t.clean(ctx); err != nil {
		return err
	}
	t.forget()
	t.update(func() {
		for _, o := range saved.Origins {
			t.places = append(t.places, o.place)
		}
	})
	return nil
}

// parseStorage reads a login. What its origins have stored is looked at where it
// is put.
func parseStorage(text []byte) (*login, error) {
	if len(text) > maxStorage {
		return nil, fmt.Errorf("%d bytes, limit %d", len(text), maxStorage)
	}
	saved := &login{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(saved)
	if _, more := decoder.Token(); err != nil || more != io.EOF {
		return nil, errors.New("it is not what Storage returns") // without the text: it is a secret
	}
	if saved.Version != storageVersion {
		return nil, fmt.Errorf("version %d, this is %d", saved.Version, storageVersion)
	}
	if len(saved.Origins) > maxPlaces {
		return nil, fmt.Errorf("%d origins, limit %d", len(saved.Origins), maxPlaces)
	}
	for i, o := range saved.Origins {
		if o.Origin == "" || originOf(o.Origin) != o.Origin || originOf(o.Top) != o.Top || len(o.Stores) == 0 {
			return nil, fmt.Errorf("origins[%d] is no origin of http or https with its stores", i)
		}
	}
	if slices.Contains(saved.Cookies, nil) {
		return nil, errors.New("a cookie is null")
	}
	return saved, nil
}

// settable is a cookie as it is to be set. A domain without a dot before it is that of
// a cookie for its host alone.
func settable(c *network.Cookie) *network.CookieParam {
	param := &network.CookieParam{
		Name: c.Name, Value: c.Value, Domain: c.Domain, Path: c.Path, Secure: c.Secure, HTTPOnly: c.HTTPOnly, SameSite: c.SameSite,
		SourceScheme: c.SourceScheme, SourcePort: c.SourcePort, PartitionKey: c.PartitionKey,
	}
	if c.Priority != network.CookiePriorityMedium {
		param.Priority = c.Priority
	}
	if !c.Session {
		param.Expires = cdp.TimeSinceEpoch(c.Expires)
	}
	return param
}
