// Package egress decides which outbound addresses a plugin may reach, and dials
// them. All plugins that open connections for others use it, so that an
// egress{} block means the same in each of them:
//
//	egress {
//	  default = "public"             # or "deny"
//	  rule {
//	    action    = "allow"
//	    hosts     = ["db.internal.example"]
//	    addresses = ["10.1.0.0/16"]
//	    ports     = ["5432"]
//	    clients   = ["reports"]
//	  }
//	  rule {
//	    action = "deny"
//	    hosts  = ["*.ads.example"]
//	  }
//	}
//
// # In a plugin
//
//	func (s *service) Configure(ctx context.Context, config *mypluginv1.Config) error {
//		policy, err := egress.Configure(ctx, "egress", config.GetEgress())
//		if err != nil {
//			return err // with field, file and line for the operator
//		}
//		s.dialer = &egress.Dialer{Policy: policy}
//		…
//	}
//
//	conn, err := s.dialer.DialContext(egress.WithClient(ctx, "reports"), "tcp", "example.com:443")
//	transport := &http.Transport{DialContext: s.dialer.DialContext} // redirects are dialled, too
//
// The error is a *Denied, which says to the client which rule in which line has
// refused it and what to write to allow it, or a *DialError, which tells a name
// that does not resolve from an address that does not answer.
//
// # How it is decided
//
//  1. ParseHost brings the host into its one spelling. "EXAMPLE.com." and
//     "ｅxample。com" are the name example.com; "0x7f.1", "2130706433" and
//     "::ffff:127.0.0.1" are the address 127.0.0.1. What is neither is an error.
//  2. Policy.Name asks whether any address at all could be allowed. Only then is
//     DNS asked: the question alone would tell an accomplice's server something.
//  3. Policy.Check asks the rules about each address of the answer. The first
//     rule for which host, address, port and client all hold decides; if there
//     is none, the default does. A rule that allows covers public addresses if
//     it names no others; one that denies covers all.
//  4. The Dialer connects to addresses that are allowed, and to nothing else: it
//     does not ask DNS again, so an answer that changes (DNS rebinding) changes
//     nothing. It never connects to where its own program listens.
//
// # What is public
//
// The addresses that IANA has given to networks of the internet. These are not,
// however they are written: this machine's (127.0.0.0/8, ::1, 0.0.0.0/8, ::),
// private ones (RFC 1918, fc00::/7), link-local ones and all others where clouds
// serve metadata, those of carriers (100.64.0.0/10), multicast, broadcast, and
// those for documentation, benchmarks and protocols. An IPv6 address from which
// packets go on to an IPv4 address (NAT64, 6to4, Teredo, ISATAP) is public if
// that one is. The NAT64 of a network with a prefix of its own looks like any
// other network; deny that prefix.
//
// In rules, "private" is RFC 1918 and fc00::/7 but for metadata services in it,
// "loopback" 127.0.0.0/8 and ::1, "any" everything. A rule that denies an IPv4
// address denies the IPv6 addresses that lead there; one that allows it does not
// allow them.
//
// hosts is compared with what was asked for, not with what it resolves to: a
// rule with hosts = ["10.0.0.7"] says nothing of names that lead there, one with
// addresses = ["10.0.0.7"] does.
package egress
