package allow

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gaia-go/gaia/sdk"
)

// noProxy are the hosts that are reached without the proxy: those of this
// machine. Some programs know no ranges, so the usual address stands by itself.
const noProxy = "localhost,127.0.0.1,::1,127.0.0.0/8"

// variable is one of those by which programs are told of a proxy.
type variable struct{ name, value string }

// proxyVariables are those that programs look for. Which case of a name they
// read is up to them: curl knows http_proxy, others HTTP_PROXY only. Node's fetch
// reads neither without NODE_USE_ENV_PROXY.
func proxyVariables(proxy string) ([]variable, error) {
	if proxy == "" {
		return nil, nil
	}
	if !isProxy(proxy) { // what is wrong with it is not quoted: it may have a password
		return nil, sdk.Invalid("proxy", `Write scheme, host and port, such as "http://user:password@127.0.0.1:3128"; `+
			`schemes are http, https, socks5 and socks5h, and in user and password all but letters and digits is percent-encoded.`)
	}
	variables := []variable{{"NODE_USE_ENV_PROXY", "1"}}
	for _, v := range []variable{{"HTTP_PROXY", proxy}, {"HTTPS_PROXY", proxy}, {"ALL_PROXY", proxy}, {"NO_PROXY", noProxy}} {
		variables = append(variables, v, variable{strings.ToLower(v.name), v.value})
	}
	return variables, nil
}

// isProxy reports whether all programs read the same proxy in text. Without a
// port curl takes 1080 and others 80.
func isProxy(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0 && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

// addProxy adds the variables to env whose names none of those who set any has
// set, in either case: who sets HTTPS_PROXY does not mean https_proxy to lead
// elsewhere.
func addProxy(env map[string]string, variables []variable, set ...map[string]string) {
	for _, v := range variables {
		upper, lower := strings.ToUpper(v.name), strings.ToLower(v.name)
		if !slices.ContainsFunc(set, func(vars map[string]string) bool {
			_, isUpper := vars[upper]
			_, isLower := vars[lower]
			return isUpper || isLower
		}) {
			env[v.name] = v.value
		}
	}
}
