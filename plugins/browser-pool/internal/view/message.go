package view

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/go-json-experiment/json/jsontext"
)

// command is a message of the client's.
type command struct {
	id      int64
	method  string
	params  jsonv2.Value // of the text; nil for none
	session target.SessionID
	target  target.ID // that the session is of
	text    []byte    // the whole of it
}

var (
	errTwice   = errors.New("id, method, params or sessionId is there twice")
	errNoOne   = errors.New("the message has no method")
	errBadID   = errors.New("id is no integer from 0 to 2147483647")
	errTrailer = errors.New("the message goes on after its end")
)

// parse reads what a message is about. All of it is checked: what the browser
// takes for the method, the session and the end of the message is the same.
func parse(text []byte) (command, error) {
	c := command{id: -1, text: bytes.TrimSpace(text)}
	// c.member looks for the names that matter. Half of a surrogate pair is a text to
	// browsers, if it is written as an escape.
	decoder := jsontext.NewDecoder(bytes.NewBuffer(c.text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(utf8.Valid(c.text)))
	token, err := decoder.ReadToken()
	if err != nil {
		return c, err
	}
	if token.Kind() != '{' {
		return c, errors.New("the message is no JSON object")
	}
	for decoder.PeekKind() == '"' {
		if err := c.member(decoder); err != nil {
			return c, err
		}
	}
	if _, err := decoder.ReadToken(); err != nil {
		return c, err
	}
	switch {
	case decoder.InputOffset() != int64(len(c.text)):
		return c, errTrailer
	case c.id < 0:
		return c, errBadID
	case c.method == "":
		return c, errNoOne
	}
	return c, nil
}

// member reads one name with its value. Of two with the same name the browser
// might read the other one; those in params are looked for by who reads them.
func (c *command) member(decoder *jsontext.Decoder) error {
	name, err := decoder.ReadToken()
	if err != nil {
		return err
	}
	switch key := name.String(); key {
	case "params":
		if c.params != nil {
			return errTwice
		}
		value, err := decoder.ReadValue()
		c.params = jsonv2.Value(value)
		return err
	case "id", "method", "sessionId":
		token, err := decoder.ReadToken()
		switch {
		case err != nil:
			return err
		case key == "id" && c.id >= 0, key == "method" && c.method != "", key == "sessionId" && c.session != "":
			return errTwice
		case key == "id":
			return c.number(token)
		case token.Kind() != '"' || token.String() == "":
			return fmt.Errorf("%s is no text", key)
		case key == "method":
			c.method = token.String()
		default:
			c.session = target.SessionID(token.String())
		}
		return nil
	}
	return decoder.SkipValue()
}

func (c *command) number(token jsontext.Token) error {
	if token.Kind() != '0' || strings.ContainsAny(token.String(), "-.eE") {
		return errBadID
	}
	n := token.Int()
	if n > math.MaxInt32 {
		return errBadID
	}
	c.id = n
	return nil
}

// in is the command as one of a session: as it came, but for the session and the
// parameters, if these are not nil.
func (c *command) in(id target.SessionID, params jsonv2.Value) []byte {
	switch {
	case params != nil:
		return fmt.Appendf(nil, `{"id":%d,"method":%s,"params":%s,"sessionId":%s}`, c.id, quote(c.method), params, quote(string(id)))
	case c.session != "":
		return c.text
	}
	return fmt.Appendf(make([]byte, 0, len(c.text)+64), `{"sessionId":%s,%s`, quote(string(id)), c.text[1:])
}

// result answers the command.
func (c *command) result(params any) []byte {
	value, err := jsonv2.Marshal(params, jsonv2.DefaultOptionsV2(), jsonv2.AllowInvalidUTF8(true))
	if err != nil {
		return c.refusal(fmt.Errorf("internal: %w", err))
	}
	return c.answer("result", value)
}

// refusal answers the command with an error, as the browser writes its own.
func (c *command) refusal(err error) []byte {
	value, _ := jsonv2.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{-32000, err.Error()}, jsonv2.AllowInvalidUTF8(true))
	return c.answer("error", value)
}

func (c *command) answer(kind string, value []byte) []byte {
	if c.session == "" {
		return fmt.Appendf(nil, `{"id":%d,%q:%s}`, max(c.id, 0), kind, value)
	}
	return fmt.Appendf(nil, `{"id":%d,%q:%s,"sessionId":%s}`, max(c.id, 0), kind, value, quote(string(c.session)))
}

// quote writes a text that has come in JSON, so that it is one, as JSON.
func quote(text string) []byte {
	quoted, _ := jsontext.AppendQuote(nil, text)
	return quoted
}
