package resolver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	lookAgain = time.Second // how often a file is looked at
	maxFile   = 32 << 20    // bytes of it that are read; block lists have some 10 MB
)

// watched is a file that is read again when it has changed. It is used by one
// goroutine at a time.
type watched struct {
	path   string
	looked time.Duration // when, 0 is never
	seen   string        // what tells one state of the file from another
}

// read returns the file's content if it has changed since the last time. A file
// that is not there is empty.
func (w *watched) read(now time.Duration) (content []byte, changed bool) {
	if w.looked > 0 && now-w.looked < lookAgain {
		return nil, false
	}
	first := w.looked == 0
	w.looked = max(now, 1)
	f, err := os.Open(w.path)
	if err != nil {
		changed = first || w.seen != ""
		w.seen = ""
		return nil, changed
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || state(info) == w.seen {
		return nil, false
	}
	if content, err = io.ReadAll(io.LimitReader(f, maxFile)); err != nil {
		return nil, false
	}
	w.seen = state(info)
	return content, true
}

func state(info fs.FileInfo) string {
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}

// parseResolvConf returns the name servers of a resolv.conf, but for own. Search
// domains are not applied.
func parseResolvConf(content []byte, own netip.AddrPort) []endpoint {
	var found []endpoint
	for line := range lines(content) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1]) // with a zone, if it has one
		at := netip.AddrPortFrom(addr, 53)
		if err == nil && at != own && len(found) < 16 {
			found = append(found, endpoint{scheme: "udp", addr: at})
		}
	}
	return found
}

// lines yields the lines of a file without their comments.
func lines(content []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		scanner := bufio.NewScanner(bytes.NewReader(content))
		for scanner.Scan() {
			line, _, _ := strings.Cut(scanner.Text(), "#")
			if !yield(line) {
				return
			}
		}
	}
}

// hosts are the names of a hosts file.
type hosts struct {
	reader *reader
	names  atomic.Pointer[map[string]*entry] // by key, of both families
	sizes  atomic.Uint64                     // of its keys, modulo 64, a bit each
	next   atomic.Int64                      // when the file is looked at again

	mu   sync.Mutex
	file watched
}

func newHosts(path string, r *reader) *hosts {
	h := &hosts{reader: r, file: watched{path: path}}
	h.names.Store(&map[string]*entry{})
	return h
}

// find returns what the file says about key, or nil.
func (h *hosts) find(key []byte, now time.Duration) *entry {
	if int64(now) >= h.next.Load() {
		h.look(now)
	}
	if h.sizes.Load()>>(len(key)&63)&1 == 0 {
		return nil // most names, without a look into the map
	}
	return (*h.names.Load())[string(key)]
}

func (h *hosts) look(now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if content, changed := h.file.read(now); changed {
		names := h.parse(content)
		var sizes uint64
		for key := range *names {
			sizes |= 1 << (len(key) & 63)
		}
		h.names.Store(names)
		h.sizes.Store(sizes)
	}
	h.next.Store(int64(now + lookAgain))
}

// forget makes the file be read anew.
func (h *hosts) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.file = watched{path: h.file.path}
	h.next.Store(0)
}

// parse makes the entries of all names in a hosts file.
func (h *hosts) parse(content []byte) *map[string]*entry {
	addrs := map[string][]netip.Addr{}
	for line := range lines(content) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, host := range fields[1:] {
			if name, ok := appendName(nil, host); ok && !isLocal(appendType(name, 0)) {
				addrs[string(name)] = append(addrs[string(name)], addr.Unmap().WithZone(""))
			}
		}
	}
	names := make(map[string]*entry, 2*len(addrs))
	for name, all := range addrs {
		for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
			key := string(appendType([]byte(name), t))
			names[key] = newLocal(key, all, h.reader)
		}
	}
	return &names
}

// localhost is the entry for a name that isLocal.
func localhost(key []byte, r *reader) *entry {
	return newLocal(string(key), []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, r)
}

// newLocal makes an entry that no server was asked for, of those of addrs that
// fit key. Nobody else should keep it: its TTL is 0.
func newLocal(key string, addrs []netip.Addr, r *reader) *entry {
	e := &entry{err: ErrNotFound}
	q, err := question(key)
	if err != nil {
		return e
	}
	m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
	for _, addr := range addrs {
		var body dnsmessage.ResourceBody
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: addr.As4()}
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		default:
			continue
		}
		e.addrs, e.err = append(e.addrs, addr), nil
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	if err := r.publish(e, key, m); err != nil {
		e.wire = nil
	}
	return e
}
