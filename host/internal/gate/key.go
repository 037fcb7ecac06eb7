package gate

import (
	"fmt"
	"hash/maphash"
	"strconv"
)

// maxValue is how many bytes of a value tell it apart from others. It is the
// most that a host name has; longer values are rare, and are cut so that a
// caller cannot fill the host's memory with a few keys.
const maxValue = 255

// shownValue is how much of a value is shown in texts.
const shownValue = 100

// key is a key that policies of a gate are kept by.
type key struct {
	name string
	slot int // where its value is in a call, so that it is read once
	seed maphash.Seed
}

// keyValue is the value of a key of one call.
type keyValue struct {
	bytes []byte
	hash  uint64
	state keyState
}

type keyState uint8

const (
	unread keyState = iota
	absent          // the method does not declare the key
	present
)

// of returns the value of the key; nil when the call's method has no such key.
func (k key) of(c *Call) *keyValue {
	v := &c.keys[k.slot]
	if v.state == unread {
		k.read(c, v)
	}
	if v.state == absent {
		return nil
	}
	return v
}

func (k key) read(c *Call, v *keyValue) {
	v.state = absent
	if c.Keys == nil {
		return
	}
	value, ok := c.Keys.Key(k.name)
	if !ok {
		return
	}
	v.bytes = value[:min(len(value), maxValue)]
	v.hash = maphash.Bytes(k.seed, v.bytes)
	v.state = present
}

// shown is the value for people. It is the caller's: quoted, and bounded.
func (v *keyValue) shown() string {
	if len(v.bytes) > shownValue {
		return fmt.Sprintf("%q…", v.bytes[:shownValue])
	}
	return strconv.Quote(string(v.bytes))
}

// escaped is the value for programs: shown without its quotation marks, so that
// it is text whatever the caller sent.
func (v *keyValue) escaped() string {
	quoted := strconv.Quote(string(v.bytes))
	return quoted[1 : len(quoted)-1]
}

// metadata is what the details of a rejection say of the value.
func (v *keyValue) metadata() map[string]string { return map[string]string{"key": v.escaped()} }
