// Does what a browser does at a key that copies, cuts or pastes, but with a clipboard
// that it is given and gives back: the text that is on it (text), or is now (Has, Text;
// TooLong has its length if that is above most). Insert is what is to be typed. this is
// what noteKey has returned.
function(use, text, most) {
	removeEventListener("keydown", this.listen, true)
	if (this.event?.defaultPrevented) return {}
	let focus = document.activeElement ?? document.body ?? document.documentElement
	while (focus.shadowRoot?.activeElement) focus = focus.shadowRoot.activeElement
	const isInput = focus instanceof HTMLInputElement
	const isField = isInput || focus instanceof HTMLTextAreaElement
	const selection = focus.getRootNode().getSelection?.() ?? getSelection()

	const selected = () => {
		if (isInput && focus.type === "password") return ""
		return isField && focus.selectionStart !== null ? focus.value.slice(focus.selectionStart, focus.selectionEnd) : selection.toString()
	}
	const target = () => {
		if (isField || selection.rangeCount === 0) return focus
		const start = selection.getRangeAt(0).startContainer
		return start.nodeType === Node.ELEMENT_NODE ? start : start.parentElement ?? focus
	}

	const data = new DataTransfer()
	if (use === "paste") data.setData("text/plain", text)
	const isFree = target().dispatchEvent(new ClipboardEvent(use, { bubbles: true, cancelable: true, composed: true, clipboardData: data }))
	if (use === "paste") return { Insert: isFree ? isInput ? text.replace(/\r\n|\r|\n/g, " ") : text : "" }
	if (!isFree && data.types.length === 0) return {}
	const taken = isFree ? selected() : data.getData("text/plain")
	if (taken.length > most) return { TooLong: taken.length }
	if (isFree && taken === "") return {}
	if (isFree && use === "cut" && !document.execCommand("delete")) return {} // it cannot be edited
	return { Has: true, Text: taken }
}
