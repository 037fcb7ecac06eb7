package page

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"
)

// The modifiers as the browser counts them.
const (
	alt     int64 = 1
	control int64 = 2
	meta    int64 = 4
	shift   int64 = 8
)

// stroke is a key that is pressed while others are held.
type stroke struct {
	modifiers []key
	key       key
}

// key is one of a keyboard with the layout of the United States, or a character
// that this has not.
type key struct {
	name, code string // as KeyboardEvent has them: "a" and "KeyA"
	number     int64  // its old one, KeyboardEvent.keyCode
	text       string // that it writes, "" for none
	plain      string // name without Shift
	isShifted  bool   // it is written with Shift
	location   int64  // 1 for the left one of two
	bit        int64  // of a modifier
}

func (k key) event(what input.DispatchKeyEventType, held int64) input.DispatchKeyEventParams {
	return input.DispatchKeyEventParams{
		Type: what, Modifiers: held, Key: k.name, Code: k.code, Location: k.location,
		WindowsVirtualKeyCode: k.number, NativeVirtualKeyCode: k.number,
	}
}

func modifierOf(name string) key {
	switch name {
	case "Alt":
		return key{name: name, code: "AltLeft", number: 18, location: 1, bit: alt}
	case "Control":
		return key{name: name, code: "ControlLeft", number: 17, location: 1, bit: control}
	case "Meta":
		return key{name: name, code: "MetaLeft", number: 91, location: 1, bit: meta}
	case "Shift":
		return key{name: name, code: "ShiftLeft", number: 16, location: 1, bit: shift}
	}
	return key{}
}

// keyOf is the key with a name or a character; one without a name if there is none.
func keyOf(name string) key {
	if m := modifierOf(name); m.bit != 0 {
		return m
	}
	if name == "Space" {
		name = " "
	}
	r, size := utf8.DecodeRuneInString(name)
	if size == len(name) && r >= ' ' {
		// The table has keys without a character under one that they have not.
		if k, isThere := kb.Keys[r]; isThere && k.Key == name {
			return fromTable(k)
		}
		return key{name: name, text: name} // as from another keyboard
	}
	for _, k := range kb.Keys {
		if k.Key == name {
			return fromTable(k)
		}
	}
	return key{}
}

func fromTable(k *kb.Key) key {
	plain := k.Key
	if k.Shift {
		plain = k.Unmodified
	}
	return key{name: k.Key, code: k.Code, number: k.Windows, text: k.Text, plain: plain, isShifted: k.Shift}
}

// parseStroke reads "Enter", "a", "Control+A", "Shift+Tab" and "Control++".
func parseStroke(text string) (stroke, error) {
	if text == "" {
		return stroke{}, fmt.Errorf("a key is required")
	}
	held, name := "", text
	if i := strings.LastIndex(text[:len(text)-1], "+"); i >= 0 {
		held, name = text[:i], text[i+1:]
	}
	s := stroke{key: keyOf(name)}
	if s.key.name == "" {
		return stroke{}, fmt.Errorf("no key is called %q; the nearest is %q", clip(name, 40), nearest(name))
	}
	for part := range strings.SplitSeq(held, "+") {
		if held == "" {
			break
		}
		m := modifierOf(part)
		if m.bit == 0 {
			return stroke{}, fmt.Errorf("%q is held with no other key; Alt, Control, Meta and Shift are", clip(part, 40))
		}
		s.modifiers = append(s.modifiers, m)
	}
	return s.shifted(), nil
}

// shifted holds Shift where the key needs it, and has the key that it is with the
// others: Control+A is Control and the key of the a.
func (s stroke) shifted() stroke {
	var held int64
	for _, m := range s.modifiers {
		held |= m.bit
	}
	switch {
	case s.key.isShifted && held&^shift != 0 && held&shift == 0:
		s.key.name = s.key.plain
	case s.key.isShifted && held == 0:
		s.modifiers = append(s.modifiers, modifierOf("Shift"))
	case held&shift != 0 && !s.key.isShifted && len(s.key.text) == 1 && s.key.code != "":
		for _, k := range kb.Keys {
			if k.Code == s.key.code && k.Shift {
				s.key = fromTable(k)
			}
		}
	}
	return s
}

// commands are what an editor does at a stroke. On Linux Chromium knows them by
// itself; on macOS the menu of a window would.
func (s stroke) commands() []string {
	var held int64
	for _, m := range s.modifiers {
		held |= m.bit
	}
	switch {
	case held != control && held != meta && held != control|shift && held != meta|shift:
		return nil
	case held&shift != 0 && s.key.code == "KeyZ":
		return []string{"redo"}
	case held&shift != 0:
		return nil
	}
	switch s.key.code {
	case "KeyA":
		return []string{"selectAll"}
	case "KeyZ":
		return []string{"undo"}
	case "KeyY":
		return []string{"redo"}
	}
	return nil
}

// nearest is the name of a key that differs least from one that there is not.
func nearest(name string) string {
	names := []string{"Alt", "Control", "Meta", "Shift", "Space"}
	for _, k := range kb.Keys {
		if utf8.RuneCountInString(k.Key) > 1 {
			names = append(names, k.Key)
		}
	}
	slices.Sort(names)
	return slices.MinFunc(names, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is how many characters are to be added, taken away or changed to make
// one name of another; those that only differ in case count for less.
func distance(a, b string) int {
	a, b = strings.ToLower(clip(a, 40)), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
