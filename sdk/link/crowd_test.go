package link

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// A crowd is the calls of a client who writes frames, and what it has been
// answered.
type crowd struct {
	client  net.Conn
	grants  bool
	isWhole bool // what is sent ends with a whole frame
	calls   map[uint32]int
	waiting map[uint32]bool // whether they end only when they are cancelled
	left    int             // calls without an answer
	over    chan struct{}   // closed when all are answered, or the connection has ended
	read    sync.WaitGroup
	fault   error // in what was read

	mu       sync.Mutex // for who writes credit
	earned   []byte     // that was not written yet
	finished bool       // all else is written
}

func newCrowd(client net.Conn, sent []byte, how byte) *crowd {
	c := &crowd{
		client: client, grants: how&grantless == 0, over: make(chan struct{}),
		calls: make(map[uint32]int), waiting: make(map[uint32]bool),
	}
	if how&ungreeted != 0 {
		sent = sent[min(len(sent), greetingSize):]
	}
	for {
		f, n, err := parseFrame(sent)
		if err != nil || n == 0 {
			c.isWhole = err == nil && len(sent) == 0
			return c
		}
		if sent = sent[n:]; f.kind == kindCall {
			c.calls[f.id]++
			c.left++
			c.waiting[f.id] = c.waiting[f.id] || f.number == 2 || f.number == 6
		}
	}
}

// finish makes sure that each call can be answered: nothing else is written any
// more.
func (c *crowd) finish() {
	var b []byte
	for id, waits := range c.waiting {
		if waits || !c.grants {
			b = appendHeader(b, kindCancel, 0, 0, id, 0)
		}
	}
	pieces(c.client, b, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	c.client.Write(c.earned)
	c.earned = nil
}

// grant gives credit, or leaves it to finish.
func (c *crowd) grant(credit []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.earned = append(c.earned, credit...); c.finished {
		c.client.Write(c.earned)
		c.earned = c.earned[:0]
	}
}

var buffers = sync.Pool{New: func() any { return new(make([]byte, 256<<10)) }}

// count reads answers until the connection ends. It returns what is wrong with
// them.
func (c *crowd) count() error {
	over := sync.OnceFunc(func() { close(c.over) })
	defer over()
	_ = c.client.SetReadDeadline(soon()) // of a socket that is open
	if _, err := io.CopyN(io.Discard, c.client, greetingSize); err != nil {
		return hung(err) // or it was cut off
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for rest := 0; ; {
		if c.left == 0 {
			over()
		}
		n, err := c.client.Read((*buffer)[rest:])
		if err != nil {
			return hung(err) // or it was cut off, or has hung up
		}
		b := (*buffer)[:rest+n]
		for {
			f, n, err := parseFrame(b)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if err := c.answered(f); err != nil {
				return err
			}
			b = b[n:]
		}
		rest = copy(*buffer, b)
	}
}

// answered counts an answer.
func (c *crowd) answered(f frame) error {
	var a Answer
	if f.kind != kindAnswer && f.kind != kindPart {
		return fmt.Errorf("a frame of kind %d from the server", f.kind)
	}
	if err := parseAnswer(f, &a); err != nil {
		return err
	}
	if c.calls[f.id] == 0 {
		return fmt.Errorf("an answer too many to call %d: %+v", f.id, a)
	}
	switch {
	case !a.More:
		c.calls[f.id]--
		c.left--
	case c.grants:
		c.grant(appendCredit(nil, f.id, len(a.Payload)))
	}
	return nil
}
