package page

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"golang.org/x/net/publicsuffix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Cookies returns those of the tab's browser context: with urls those that the
// page would send there, without all. They are sorted by domain, path and name.
func (t *Tab) Cookies(ctx context.Context, urls []string) ([]*browserv1.Cookie, error) {
	found, err := t.cookies(ctx, urls)
	if err != nil {
		return nil, err
	}
	cookies := make([]*browserv1.Cookie, 0, len(found))
	for _, c := range found {
		cookies = append(cookies, cookieOf(c))
	}
	return cookies, nil
}

func (t *Tab) cookies(ctx context.Context, urls []string) ([]*network.Cookie, error) {
	var found []*network.Cookie
	if len(urls) == 0 {
		all, err := devtools.Call(ctx, t.Browser, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: t.Context})
		if err != nil {
			return nil, t.Fault(ctx, err, "the cookies")
		}
		found = all.Cookies
	} else {
		some, err := devtools.Call(ctx, t.Session, network.GetCookies, network.GetCookiesParams{URLs: urls})
		if err != nil {
			return nil, t.Fault(ctx, err, "the cookies")
		}
		found = some.Cookies
	}
	slices.SortFunc(found, func(a, b *network.Cookie) int { return slices.Compare(cookieKey(a), cookieKey(b)) })
	return found, nil
}

// cookieKey is what a browser tells cookies apart by.
func cookieKey(c *network.Cookie) []string {
	key := []string{c.Domain, c.Path, c.Name}
	if p := c.PartitionKey; p != nil {
		key = append(key, p.TopLevelSite, fmt.Sprint(p.HasCrossSiteAncestor))
	}
	return key
}

// SetCookies adds cookies to the tab's browser context.
func (t *Tab) SetCookies(ctx context.Context, cookies []*browserv1.Cookie) error {
	return t.setCookies(ctx, "cookies", cookieParams(cookies))
}

func cookieParams(cookies []*browserv1.Cookie) []*network.CookieParam {
	params := make([]*network.CookieParam, 0, len(cookies))
	for _, c := range cookies {
		params = append(params, cookieParam(c))
	}
	return params
}

func (t *Tab) setCookies(ctx context.Context, field string, params []*network.CookieParam) error {
	if len(params) == 0 {
		return nil
	}
	_, err := devtools.Call(ctx, t.Browser, storage.SetCookies, storage.SetCookiesParams{BrowserContextID: t.Context, Cookies: params})
	if protocol := protocolError(err); protocol != "" {
		return status.Errorf(codes.InvalidArgument, "%s: %s", field, protocol)
	}
	return t.Fault(ctx, err, "the cookies")
}

// cookieParam is a cookie as the browser sets it.
func cookieParam(c *browserv1.Cookie) *network.CookieParam {
	param := &network.CookieParam{
		Name: c.GetName(), Value: c.GetValue(), URL: c.GetUrl(), Domain: c.GetDomain(), Path: c.GetPath(),
		Secure: c.GetSecure(), HTTPOnly: c.GetHttpOnly(), SameSite: network.CookieSameSite(c.GetSameSite()),
	}
	if param.Path == "" && param.URL == "" {
		param.Path = "/"
	}
	if c.GetExpires() != nil {
		param.Expires = cdp.TimeSinceEpoch(float64(c.GetExpires().AsTime().UnixMicro()) / 1e6)
	}
	if top := c.GetPartition(); top != "" {
		host := strings.TrimPrefix(c.GetDomain(), ".")
		if u, err := url.Parse(c.GetUrl()); err == nil && u.Host != "" {
			host = u.Hostname()
		}
		param.PartitionKey = &network.CookiePartitionKey{TopLevelSite: top, HasCrossSiteAncestor: Site("", host) != Site("", hostOf(top))}
	}
	return param
}

// cookieOf is a cookie as the browser has it.
func cookieOf(c *network.Cookie) *browserv1.Cookie {
	cookie := &browserv1.Cookie{
		Name: c.Name, Value: c.Value, Domain: c.Domain, Path: c.Path, HttpOnly: c.HTTPOnly, Secure: c.Secure, SameSite: string(c.SameSite),
	}
	if !c.Session {
		seconds, part := math.Modf(c.Expires)
		cookie.Expires = timestamppb.New(time.Unix(int64(seconds), int64(math.Round(part*1e6))*1000))
	}
	if c.PartitionKey != nil {
		cookie.Partition = c.PartitionKey.TopLevelSite
	}
	return cookie
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Site is what browsers hold together: a scheme and a registrable domain.
func Site(scheme, host string) string {
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil || net.ParseIP(host) != nil {
		domain = host // an address, or a single name
	}
	return scheme + "://" + domain
}
