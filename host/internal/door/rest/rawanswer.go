package rest

import (
	"encoding/json"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/request"
)

// Bounds of what an answer with a raw body tells in headers. All of it is
// within the 4 KiB that most programs have for headers.
const (
	maxHeaders     = 32
	maxHeaderValue = 256
	maxHeaderDepth = 2
)

// rawAnswer is the content of one field of the answer, or of all answers one
// after another. The other fields of the first one are headers, as far as they
// fit there.
type rawAnswer struct {
	answer

	field    *request.BytesField
	accepted string // as the caller wants it, such as image/png or image/*

	begun bool   // a stream's header was written
	body  []byte // of the only message
}

func (a *rawAnswer) begin() error { return nil }

func (a *rawAnswer) send(message []byte) error {
	content := a.field.Content(message)
	if !a.method.ServerStreams {
		if err := a.head(message, content); err != nil {
			return err
		}
		a.body = append(a.body, content...)
		return nil
	}
	if !a.begun {
		if err := a.head(message, content); err != nil {
			return err
		}
		a.begun = true
		a.w.WriteHeader(http.StatusOK)
	}
	if _, err := a.w.Write(content); err != nil {
		return gone(err)
	}
	if err := http.NewResponseController(a.w).Flush(); err != nil {
		return gone(err)
	}
	return nil
}

// end breaks off an answer that has begun and cannot be finished: nothing else
// tells whoever reads it that it is not whole.
func (a *rawAnswer) end(err error) {
	switch {
	case err != nil && a.begun:
		panic(http.ErrAbortHandler)
	case err != nil:
		a.fail(err)
	case !a.method.ServerStreams:
		a.write(a.w.Header().Get("Content-Type"), a.body)
	case !a.begun:
		a.write(a.contentType(nil), nil)
	}
}

// head sets the headers that tell of the first message.
func (a *rawAnswer) head(message, content []byte) error {
	m, err := a.decode(message)
	if err != nil {
		return err
	}
	a.w.Header().Set("Content-Type", a.contentType(content))
	setHeaders(a.w.Header(), m, "Gaia", maxHeaderDepth)
	return nil
}

// contentType is what the caller asked for, or of several what the content
// looks like.
func (a *rawAnswer) contentType(content []byte) string {
	if strings.HasSuffix(a.accepted, "/*") {
		return http.DetectContentType(content)
	}
	return a.accepted
}

// setHeaders tells the fields of m that are one short word, and those of the
// messages in it.
func setHeaders(header http.Header, m protoreflect.Message, prefix string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) || fd.Cardinality() == protoreflect.Repeated || request.Sensitive(fd) || len(header) > maxHeaders {
			continue
		}
		name := prefix + "-" + strings.ReplaceAll(string(fd.Name()), "_", "-")
		if text, ok := headerText(fd, m.Get(fd)); ok {
			header.Set(name, text)
		} else if fd.Message() != nil && depth > 1 {
			setHeaders(header, m.Get(fd).Message(), name, depth-1)
		}
	}
}

// headerText is a value as a header has it.
func headerText(fd protoreflect.FieldDescriptor, v protoreflect.Value) (text string, ok bool) {
	switch fd.Kind() {
	case protoreflect.BytesKind, protoreflect.GroupKind:
		return "", false
	case protoreflect.MessageKind:
		if !strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf.") {
			return "", false
		}
		// Of the well-known types those that JSON writes as one string.
		raw, err := protojson.Marshal(v.Message().Interface())
		if err != nil || json.Unmarshal(raw, &text) != nil {
			return "", false
		}
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			text = string(value.Name())
		}
	default:
		text = v.String()
	}
	printable := !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	return text, printable && text != "" && len(text) <= maxHeaderValue
}
