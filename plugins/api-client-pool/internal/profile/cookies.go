package profile

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// What servers may have us remember, more than RFC 6265, 6.1 asks for a host and
// a cookie. Beyond maxCookies the oldest is forgotten, beyond maxCookie the
// cookie is not kept.
const (
	maxCookies = 200
	maxCookie  = 4 << 10 // bytes of name, value, path and domain
)

// cookies are those of a profile: a jar with bounds. It is safe for concurrent
// use.
type cookies struct {
	jar *cookiejar.Jar

	mu    sync.Mutex
	order []kept // oldest first
}

// kept is what is needed to have the jar forget a cookie.
type kept struct {
	host               string // that set it
	name, path, domain string
}

func newCookies() *cookies {
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil { // it never is, and an empty jar would be a mystery
		panic("internal: " + err.Error())
	}
	return &cookies{jar: jar}
}

// add gives request its cookies, unless it has a Cookie header of its own.
func (c *cookies) add(request *http.Request) {
	if _, own := request.Header["Cookie"]; own {
		return
	}
	for _, cookie := range c.jar.Cookies(request.URL) {
		request.AddCookie(cookie)
	}
}

// keep remembers the cookies of a response from u.
func (c *cookies) keep(u *url.URL, response *http.Response) {
	for _, cookie := range response.Cookies() {
		if len(cookie.Name)+len(cookie.Value)+len(cookie.Path)+len(cookie.Domain) > maxCookie {
			continue
		}
		c.one(u, cookie)
	}
}

func (c *cookies) one(u *url.URL, cookie *http.Cookie) {
	id := kept{strings.ToLower(u.Hostname()), cookie.Name, cookie.Path, cookie.Domain}
	if !strings.HasPrefix(id.path, "/") {
		id.path = folder(u.Path)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jar.SetCookies(u, []*http.Cookie{cookie})
	for i, known := range c.order {
		if known == id {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	if cookie.MaxAge < 0 {
		return
	}
	c.order = append(c.order, id)
	if len(c.order) > maxCookies {
		c.forget(c.order[0])
		c.order = c.order[1:]
	}
}

// forget has the jar drop a cookie.
func (c *cookies) forget(id kept) {
	u := &url.URL{Scheme: "https", Host: id.host, Path: "/"}
	c.jar.SetCookies(u, []*http.Cookie{{Name: id.name, Path: id.path, Domain: id.domain, MaxAge: -1}}) //nolint:gosec // G124: it is not set, it is dropped
}

// folder is the path of a cookie without one (RFC 6265, 5.1.4).
func folder(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 && path[0] == '/' {
		return path[:i]
	}
	return "/"
}

// hide has a cache above not keep what depends on cookies that it does not see:
// they are added below it.
func hide(request *http.Request, response *http.Response) {
	if _, own := request.Header["Cookie"]; own {
		return
	}
	for _, value := range response.Header.Values("Vary") {
		for name := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "Cookie") {
				response.Header.Set("Vary", "*")
				return
			}
		}
	}
}
