package page

import (
	"encoding/json"
	"strings"

	"github.com/chromedp/cdproto/runtime"
)

// showAll is a line of the console as a person would see it: its values, apart by
// spaces.
func showAll(values []*runtime.RemoteObject) string {
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = show(v)
	}
	return strings.Join(shown, " ")
}

// show is a value as text: a text as it is, objects with as many properties as the
// browser previews.
func show(o *runtime.RemoteObject) string {
	var text string
	switch {
	case o.UnserializableValue != "":
		return string(o.UnserializableValue)
	case len(o.Value) > 0 && o.Value[0] == '"' && json.Unmarshal(o.Value, &text) == nil:
		return text
	case len(o.Value) > 0:
		return string(o.Value)
	case o.Preview != nil && o.Subtype != runtime.RemoteObjectSubtypeError:
		return preview(o.Preview)
	case o.Description != "":
		return o.Description
	}
	return string(o.Type)
}

func preview(p *runtime.ObjectPreview) string {
	isArray := p.Subtype == "array" || p.Subtype == "typedarray"
	parts := make([]string, 0, len(p.Properties)+1)
	for _, property := range p.Properties {
		value := property.Value
		if property.ValuePreview != nil {
			value = preview(property.ValuePreview)
		}
		if property.Type == "string" {
			value = `"` + value + `"`
		}
		if !isArray {
			value = property.Name + ": " + value
		}
		parts = append(parts, value)
	}
	if p.Overflow {
		parts = append(parts, "…")
	}
	inside := strings.Join(parts, ", ")
	switch {
	case isArray:
		return "[" + inside + "]"
	case len(parts) == 0 && p.Description != "Object", len(p.Entries) > 0:
		return p.Description
	}
	return "{" + inside + "}"
}
