package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
)

// All clients of a browser have the same clipboard: a secret that one copies would
// be pasted by the others. Nothing that a client can do reads it.

// apart is a key event that leaves the clipboard alone: nil for one that does so
// as it is. A page sees it all the same.
func (m members) apart() (jsonv2.Value, error) {
	var (
		number, modifiers int64
		name              string
		commands          []string
	)
	for member, into := range map[string]any{"windowsVirtualKeyCode": &number, "modifiers": &modifiers, "key": &name, "commands": &commands} {
		if value, ok := m[member]; ok {
			if err := jsonv2.Unmarshal(value, into, jsonv2.DefaultOptionsV2()); err != nil {
				return nil, fmt.Errorf("%s: %w", member, err)
			}
		}
	}
	if number < 0 || number > 255 { // the browser takes what is above for modifiers
		return nil, fmt.Errorf("windowsVirtualKeyCode: %d, it is 0 to 255", number)
	}
	kept := slices.DeleteFunc(slices.Clone(commands), usesClipboard)
	isKey := page.ClipboardUse(number, modifiers, name) != ""
	switch {
	case isKey:
		kept = []string{page.Inert}
		m["windowsVirtualKeyCode"] = jsonv2.Value("0")
	case len(kept) == len(commands):
		return nil, nil
	}
	value, err := jsonv2.Marshal(kept)
	if err != nil {
		return nil, err
	}
	m["commands"] = value
	return m.encode()
}

// usesClipboard reports whether an editing command has to do with the clipboard, or
// with what is selected in any page: "pasteGlobalSelection".
func usesClipboard(command string) bool {
	command = strings.ToLower(command)
	return strings.Contains(command, "copy") || strings.Contains(command, "cut") || strings.Contains(command, "paste")
}

var errClipboard = errors.New("the clipboard is that of all clients of the browser: no page may read it")

// checkPermission keeps pages from being allowed to read the clipboard. They may
// write to it, in vain.
func (m members) checkPermission() error {
	var (
		names      []string
		setting    string
		descriptor struct {
			Name          string `json:"name"`
			IsUnsanitized bool   `json:"allowWithoutSanitization"`
		}
	)
	for member, into := range map[string]any{"permissions": &names, "setting": &setting, "permission": &descriptor} {
		if value, ok := m[member]; ok {
			if err := jsonv2.Unmarshal(value, into, jsonv2.DefaultOptionsV2()); err != nil {
				return fmt.Errorf("%s: %w", member, err)
			}
		}
	}
	for _, name := range names {
		if strings.Contains(strings.ToLower(name), "clipboard") && name != "clipboardSanitizedWrite" {
			return fmt.Errorf("permission %q: %w", name, errClipboard)
		}
	}
	isWrite := descriptor.Name == "clipboard-write" && !descriptor.IsUnsanitized
	if setting == "granted" && strings.Contains(strings.ToLower(descriptor.Name), "clipboard") && !isWrite {
		return fmt.Errorf("permission %q: %w", descriptor.Name, errClipboard)
	}
	return nil
}
