package top

import (
	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/key"
	"charm.land/lipgloss/v2"
)

// keys are what the user can press.
type keys struct {
	up, down, left, right, reverse, details, pause, slower, faster, suspend, quit key.Binding
}

func newKeys() keys {
	bind := func(keys []string, name, does string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(name, does))
	}
	return keys{
		up:      bind([]string{"up", "k"}, "↑↓", "select"),
		down:    bind([]string{"down", "j"}, "↓", "select the next"),
		left:    bind([]string{"left", "h"}, "←→", "sort by"),
		right:   bind([]string{"right", "l"}, "→", "sort by the next column"),
		reverse: bind([]string{"r"}, "r", "reverse"),
		details: bind([]string{"enter"}, "enter", "details"),
		pause:   bind([]string{"p", "space"}, "p", "pause"),
		slower:  bind([]string{"+", "="}, "+-", "interval"),
		faster:  bind([]string{"-"}, "-", "faster"),
		suspend: bind([]string{"ctrl+z"}, "ctrl+z", "suspend"),
		quit:    bind([]string{"q", "esc", "ctrl+c"}, "q", "quit"),
	}
}

// ShortHelp is what the last line of the screen says.
func (k keys) ShortHelp() []key.Binding {
	return []key.Binding{k.quit, k.up, k.left, k.reverse, k.details, k.pause, k.slower}
}

// FullHelp is not shown; the short one names every key.
func (k keys) FullHelp() [][]key.Binding { return [][]key.Binding{k.ShortHelp()} }

func newHelp() help.Model {
	h := help.New()
	faint := lipgloss.NewStyle().Faint(true)
	h.ShortSeparator = "  "
	h.Styles = help.Styles{Ellipsis: faint, ShortKey: lipgloss.NewStyle().Bold(true), ShortDesc: faint, ShortSeparator: faint}
	return h
}
