// Makes a control ready for a text: gives it the focus and selects what is in it
// (Typed), or, where typing a value depends on the browser's language and form, sets it
// as a whole. Returns what hinders that (Hindered), for good (Final), or says that the
// text is no value for it (Invalid).
function(attempt, text) {
	const typed = new Set(["text", "search", "url", "tel", "email", "password"])
	const final = (Hindered) => ({ Hindered, Final: true })
	const examples = {
		date: "2026-11-28", month: "2026-11", week: "2026-W48", time: "18:30", "datetime-local": "2026-11-28T18:30",
		color: "#00ff7f", number: "-1.5", range: "50",
	}
	const focus = () => {
		this.scrollIntoViewIfNeeded()
		this.focus({ preventScroll: true })
		return this.getRootNode().activeElement === this || this.isContentEditable
	}

	const isInput = this instanceof HTMLInputElement
	if (this instanceof HTMLSelectElement) return final("it is a select element: choose with Select")
	if (isInput && this.type === "file") return final("it is a file input: use Upload")
	if (isInput && !typed.has(this.type) && !(this.type in examples)) return final(`it is an input of type ${this.type}, which has no text: use Click`)
	if (!isInput && !(this instanceof HTMLTextAreaElement) && !this.isContentEditable) return final("it is no input, textarea or editable element")
	if (this.matches(":disabled")) return { Hindered: "it is disabled" }
	if (this.readOnly) return { Hindered: "it is read-only" }
	if (!focus()) return { Hindered: "it does not take the focus" }

	if (isInput && this.type in examples) {
		const before = this.value
		this.value = text.trim()
		const isTaken = this.type === "color" ? this.value === text.trim().toLowerCase()
			: this.type === "range" ? Number(this.value) === Number(text) && text.trim() !== "" : this.value !== "" || text.trim() === ""
		if (!isTaken) {
			this.value = before
			const bounds = this.type === "range" ? `, from ${this.min || 0} to ${this.max || 100} in steps of ${this.step || 1}` : ""
			return { Hindered: `text: it is no value for an input of type ${this.type}, such as ${examples[this.type]}${bounds}`, Final: true, Invalid: true }
		}
		this.dispatchEvent(new Event("input", { bubbles: true, composed: true }))
		this.dispatchEvent(new Event("change", { bubbles: true }))
		return {}
	}
	if (this.select) this.select()
	else getSelection().selectAllChildren(this)
	return { Typed: true }
}
