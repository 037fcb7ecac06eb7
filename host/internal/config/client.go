package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// HostClient is the name under which the host's own token calls, and that of
// the host's own service where it is allowed to a client. No client block and
// no subsystem has it.
const HostClient = "host"

// Client is who may call with credentials of their own: what, and how often.
type Client struct {
	Name        string // unique; of the form of a subsystem's
	Token       Token  // not set: the client has none
	Certificate string // the common name, DNS name or URI of a certificate; "" for none
	Allow       []Permission
	Rate        ClientRate
	Limits      ClientLimits

	tokenFile string
	allow     []value // as it is written
	at        ranges
	header    hcl.Range
	src       *source
}

// ClientRate is how often a client's calls may start. Without a Limit they may
// start at any time.
type ClientRate struct {
	Limit Rate
	Burst int           // calls admitted at once after an idle spell; at least 1
	Wait  time.Duration // how long a call waits for a token; 0 refuses it at once
}

// ClientLimits are ceilings of the calls of one client, to all subsystems
// together; 0 for none.
type ClientLimits struct {
	Concurrency int           // calls in flight, open streams included; 0 for the bound of any client, see package access
	Queue       int           // calls that wait for one of these places
	Timeout     time.Duration // of a unary call
}

func (c *Client) table() table {
	return table{
		name: "client",
		doc: "Who may call, beside the host's own user at the socket: with a token over HTTP, gRPC or the link, or with a certificate over gRPC on `host.grpc`. " +
			"A client may call what `allow` lists and nothing else, whatever door it comes by. One of `token`, `token_file` and `certificate` is required.",
		secrets: true,
		arguments: []argument{
			{name: "token", secret: true, doc: "Bearer token, such as `env(\"CI_TOKEN\")`. Of each client another one.", target: tokenAt{&c.Token}},
			{name: "token_file", doc: "File with the token.", target: stringAt{&c.tokenFile, "path", checkPath}},
			{name: "certificate", doc: "Name in the client's certificate: its common name, a DNS name or a URI. The certificate is one that `host.tls.client_ca` has signed.", target: stringAt{&c.Certificate, "text", checkCertificate}},
			{name: "allow", doc: "What may be called: `\"subsystem.Method\"`, `\"subsystem.*\"`, `\"subsystem.Read*\"`, or `\"*\"` for all of all subsystems. `\"host.Status\"` and the like are the host's own methods, which `\"*\"` does not include.", target: listAt{&c.allow, "list of text"}},
		},
		blocks: []table{c.Rate.table(), c.Limits.table()},
	}
}

func (r *ClientRate) table() table {
	return table{
		name: "rate",
		doc:  "How often the client's calls may start, to all subsystems together. A call that finds no token is refused with RESOURCE_EXHAUSTED, or waits for one.",
		arguments: []argument{
			{name: "limit", required: true, doc: "Calls per period, in the long run.", target: rateAt{&r.Limit}},
			{name: "burst", doc: "Calls admitted at once after an idle spell. Default: those of 100ms, at least 1.", target: intAt{&r.Burst, 1, maxBurst}},
			{name: "wait", doc: "How long a call waits for a token; 0s refuses it at once.", target: durationAt{p: &r.Wait, high: time.Hour}},
		},
		checks: []check{{[]string{"limit", "burst"}, func(in scope) *hcl.Diagnostic { return checkRefill(in, r.Limit, r.Burst) }}},
	}
}

func (l *ClientLimits) table() table {
	return table{
		name: "limits",
		doc:  "Ceilings of the client's calls, to all subsystems together. Those of the subsystems hold as well.",
		arguments: []argument{
			{name: "concurrency", doc: "Calls in flight at once, open streams included. Without it, 10000.", target: intAt{&l.Concurrency, 1, maxCalls}},
			{name: "queue", doc: "Calls that wait while all of these are in flight; 0 refuses them at once.", target: intAt{&l.Queue, 0, maxCalls}},
			{name: "timeout", doc: "How long a unary call may take.", target: durationAt{p: &l.Timeout, low: time.Millisecond, high: 24 * time.Hour}},
		},
		checks: []check{{[]string{"concurrency", "queue"}, l.checkQueue}},
	}
}

func (l *ClientLimits) checkQueue(in scope) *hcl.Diagnostic {
	if l.Queue == 0 || l.Concurrency > 0 {
		return nil
	}
	return fault(in.place("queue"), "Queue without a limit", "Calls wait only where there is a limit. Write a concurrency as well, or remove queue.")
}

// Source returns where the value at a path stands in the file, as that of a
// subsystem does; the empty path is the block.
func (c *Client) Source(path string) (file string, line int, ok bool) {
	at, ok := c.at[path]
	if path == "" {
		at, ok = c.header, c.src != nil
	}
	return at.Filename, at.Start.Line, ok
}

// SettingsEqual reports whether c and other have the same settings, whether
// written or by default.
func (c *Client) SettingsEqual(other *Client) bool {
	return c.Name == other.Name && c.Token == other.Token && c.Certificate == other.Certificate &&
		c.Rate == other.Rate && c.Limits == other.Limits &&
		slices.EqualFunc(c.Allow, other.Allow, func(a, b Permission) bool { return a.String() == b.String() })
}

// WarnAt returns a warning about one of Allow, by its index.
func (c *Client) WarnAt(i int, summary, detail string) *Report {
	at := c.header
	if i < len(c.Allow) && c.Allow[i].rng != (hcl.Range{}) {
		at = c.Allow[i].rng
	}
	return newReport(c.src, hcl.Diagnostics{warning(at, summary, detail)})
}

// clients decodes the client blocks of the file.
func (d *decoder) clients(blocks hclsyntax.Blocks) []*Client {
	var all []*Client
	first := map[string]hcl.Range{}
	for _, block := range blocks {
		if block.Type == "client" {
			all = append(all, d.client(block, first))
		}
	}
	d.distinct(all)
	return all
}

// client decodes one block. first tells where each name was seen first.
func (d *decoder) client(block *hclsyntax.Block, first map[string]hcl.Range) *Client {
	c := &Client{Name: d.label(block, "name", checkOwnName), at: ranges{}, header: block.DefRange(), src: d.src}
	if before, again := first[c.Name]; again && c.Name != "" {
		d.report(fault(block.LabelRanges[0], "Duplicate client",
			fmt.Sprintf("There is a client %q on line %d already. Give one of them another name.", c.Name, before.Start.Line)))
	} else if c.Name != "" {
		first[c.Name] = block.LabelRanges[0]
	}
	faults := len(d.diags)
	d.decode(c.table(), block.Range(), block.Body, scope{at: c.at})
	sound := len(d.diags) == faults && !d.src.gappy(block.Range(), block.Body)
	d.credentials(c, sound)
	d.permissions(c, sound)
	if c.Rate.Burst == 0 {
		c.Rate.Burst = defaultBurst(c.Rate.Limit)
	}
	return c
}

// credentials reads the token file and sees to it that there is something by
// which the client is known. sound says that nothing else is wrong with it.
func (d *decoder) credentials(c *Client, sound bool) {
	file, isFile := c.at["token_file"]
	_, isToken := c.at["token"]
	switch {
	case isFile && isToken:
		d.report(fault(file, "Conflicting arguments", "At most one of token and token_file is set. Keep one of them."))
	case c.tokenFile != "":
		var diags hcl.Diagnostics
		c.Token, diags = readToken(d.src.resolve(c.tokenFile), file)
		d.diags = append(d.diags, diags...)
	case sound && !c.Token.IsSet() && c.Certificate == "":
		d.report(fault(c.header, "Client without credentials",
			`Nobody could call as this client. Write token = env("NAME"), token_file = "path" or certificate = "name".`))
	}
}

// permissions reads allow.
func (d *decoder) permissions(c *Client, sound bool) {
	for _, v := range c.allow {
		p, diag := v.permission()
		d.report(diag)
		if diag == nil {
			c.Allow = append(c.Allow, p)
		}
	}
	if sound && len(c.allow) == 0 {
		d.report(warning(d.placeOf(c, "allow"), "Client that may call nothing",
			`Without an allow list each of its calls is refused. Write what it may call, such as allow = ["file_manager.ReadFile"].`))
	}
}

func (d *decoder) placeOf(c *Client, name string) hcl.Range {
	if at, ok := c.at[name]; ok {
		return at
	}
	return c.header
}

// distinct refuses a token or certificate that two clients have: which of them
// calls could not be told.
func (d *decoder) distinct(all []*Client) {
	tokens, certificates := map[Token]*Client{}, map[string]*Client{}
	for _, c := range all {
		if other := tokens[c.Token]; c.Token.IsSet() && other != nil {
			at := d.placeOf(c, "token")
			if c.tokenFile != "" {
				at = d.placeOf(c, "token_file")
			}
			d.report(sharedBy(at, "Token of two clients", "token", other))
		}
		if other := certificates[c.Certificate]; c.Certificate != "" && other != nil {
			d.report(sharedBy(d.placeOf(c, "certificate"), "Certificate of two clients", "certificate", other))
		}
		tokens[c.Token], certificates[c.Certificate] = c, c
	}
}

func sharedBy(at hcl.Range, summary, what string, other *Client) *hcl.Diagnostic {
	return fault(at, summary, fmt.Sprintf("The client %s on line %d has the same %s, so that nobody could tell who calls. Give each of them its own.",
		strconv.Quote(other.Name), other.header.Start.Line, what))
}

// checkOwnName is checkName for what must not be taken for the host.
func checkOwnName(name string) (summary, detail, hint string) {
	if name == HostClient {
		return "Reserved name", `"host" stands for the host's own methods and for who has the token in its run folder. Choose another name.`, ""
	}
	return checkName(name)
}

func checkCertificate(name string) (summary, detail, hint string) {
	if name == "" {
		return "Empty certificate", "A certificate is known by its common name, a DNS name or a URI in it, such as \"ci.example\" or \"spiffe://example/ci\".", ""
	}
	return "", "", ""
}
