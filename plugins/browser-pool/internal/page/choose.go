package page

import (
	"context"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// choosable chooses the options of a select element that have one of the values, or
// texts, and tells it the page as a person's choice would.
const choosable = `function(attempt, wanted) {
	const final = (Hindered, Invalid) => ({ Hindered, Final: true, Invalid })
	const normal = (text) => text.replace(/\s+/g, " ").trim()
	if (!(this instanceof HTMLSelectElement)) return final("it is no select element")
	if (wanted.length > 1 && !this.multiple) return final("values: " + wanted.length + ", and the element takes one", true)
	if (this.matches(":disabled")) return { Hindered: "it is disabled" }
	const options = [...this.options]
	const chosen = new Set()
	for (const value of wanted) {
		const option = options.find((o) => o.value === value) ?? options.find((o) => normal(o.label || o.text) === normal(value))
		if (!option) {
			const names = options.slice(0, 20).map((o) => JSON.stringify(o.value.slice(0, 40)) + (o.text && o.text !== o.value ? " (" + normal(o.text).slice(0, 40) + ")" : ""))
			const more = options.length > 20 ? ", and " + (options.length - 20) + " more" : ""
			return { Hindered: "no option " + JSON.stringify(value.slice(0, 100)) + "; there are: " + (names.join(", ") + more || "none"), Missing: true }
		}
		if (option.disabled || option.parentElement.disabled) return { Hindered: "option " + JSON.stringify(value.slice(0, 100)) + " is disabled" }
		chosen.add(option)
	}
	this.focus()
	for (const option of options) option.selected = chosen.has(option)
	this.dispatchEvent(new Event("input", { bubbles: true, composed: true }))
	this.dispatchEvent(new Event("change", { bubbles: true }))
	return { Values: [...this.selectedOptions].map((o) => o.value) }
}`

// Select chooses options of a select element, or of the one that a label is of, by
// value or by text, and no others. It returns the values of those that are chosen
// then, which a script of the page may have changed.
func (t *Tab) Select(ctx context.Context, request *browserv1.SelectRequest) ([]string, error) {
	ctx, cancel := limited(ctx, request.GetTarget().GetTimeout(), defaultReach)
	defer cancel()
	e, ready, err := t.prepare(ctx, request.GetTarget(), wantControl, choosable, request.GetValues())
	if err != nil {
		return nil, err
	}
	e.release()
	return ready.Values, nil
}
