// Returns the first element that fits a selector and can be seen; if none does, a
// text that says what there is.
//
// A selector is CSS. "a >>> b" is b in the open shadow root of any a. A last part
// "text=Sign in" is the smallest element whose whole text is this, in any open shadow
// root: as the document has it or as it is shown, white space made single. The text of
// a button made by an input is its value.
//
// want is "seen"; "control", for a label the control that it is of; or "file", the file
// input that the element is, is around or is the label of, or that alone is near a
// button, seen or not.
function(selector, want) {
	const normal = (text) => text.replace(/\s+/g, " ").trim()

	const isSeen = (element) => {
		const style = getComputedStyle(element)
		if (style.display === "contents") {
			const range = document.createRange()
			range.selectNodeContents(element)
			const box = range.getBoundingClientRect()
			return box.width > 0 && box.height > 0 && style.visibility === "visible"
		}
		if (!element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: false })) return false
		const box = element.getBoundingClientRect()
		return box.width > 0 && box.height > 0
	}

	// The parts between ">>>", those in quotes and brackets left alone.
	const split = () => {
		const parts = [""]
		let quote = "", depth = 0
		for (let i = 0; i < selector.length; i++) {
			const c = selector[i]
			if (!quote && depth === 0) {
				if (parts.at(-1).trim() === "" && selector.slice(i).trimStart().startsWith("text=")) {
					parts[parts.length - 1] = selector.slice(i).trimStart()
					return parts
				}
				if (selector.startsWith(">>>", i)) {
					parts.push("")
					i += 2
					continue
				}
			}
			if (c === "\\") {
				parts[parts.length - 1] += c + (selector[++i] ?? "")
				continue
			}
			if (quote) quote = c === quote ? "" : quote
			else if (c === '"' || c === "'") quote = c
			else if ("[(".includes(c)) depth++
			else if ("])".includes(c)) depth--
			parts[parts.length - 1] += c
		}
		return parts
	}

	const buttons = new Set(["submit", "button", "reset"])
	const silent = new Set(["HEAD", "SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE"])
	let near = null // the smallest element that has the text among others

	// A root and the open shadow roots below it.
	const withShadows = (root) => {
		const roots = [root]
		for (const element of root.querySelectorAll("*")) if (element.shadowRoot) roots.push(...withShadows(element.shadowRoot))
		return roots
	}

	// Adds the smallest elements below a root whose text is this.
	const withText = (root, wanted, found) => {
		const part = wanted.toLowerCase()
		const walk = (element) => {
			if (silent.has(element.tagName)) return false
			const isButton = element.tagName === "INPUT" && buttons.has(element.type)
			const text = normal(isButton ? element.value : element.textContent)
			if (!text.toLowerCase().includes(part)) return false
			if (within(element)) return true
			if (text === wanted || (element.innerText !== undefined && normal(element.innerText) === wanted)) {
				found.push(element)
				return true
			}
			near ??= text
			return false
		}
		const within = (parent) => {
			let is = false
			for (const child of parent.children) is = walk(child) || is
			return is
		}
		within(root)
	}

	const all = () => {
		let roots = [document], found = []
		const parts = split()
		for (const [i, part] of parts.entries()) {
			if (i > 0) roots = found.filter((host) => host.shadowRoot).map((host) => host.shadowRoot)
			found = []
			for (const root of roots) {
				if (part.startsWith("text=")) {
					for (const inner of withShadows(root)) withText(inner, normal(part.slice("text=".length)), found)
				} else found.push(...root.querySelectorAll(part))
			}
			if (i < parts.length - 1 && found.length > 0 && !found.some((host) => host.shadowRoot)) {
				return `no element that fits ${JSON.stringify(part.trim())} has an open shadow root`
			}
		}
		return found
	}

	const isFile = (e) => e instanceof HTMLInputElement && e.type === "file"
	const nearButton = (element) => {
		const button = element.closest("button, [role=button], a")
		for (let outer = button?.parentElement; outer; outer = outer.parentElement) {
			const inputs = outer.querySelectorAll("input[type=file]")
			if (inputs.length > 0) return inputs.length === 1 ? inputs[0] : undefined
		}
	}
	const fileInput = (element) =>
		[element, element.control, element.closest("label")?.control, ...element.querySelectorAll("input")].find(isFile) ?? nearButton(element)

	const found = all()
	if (typeof found === "string") return found
	if (found.length === 0) return near === null ? "no element fits" : `no element has this text alone; there is ${JSON.stringify(near.slice(0, 80))}`
	if (want === "file") {
		const input = found.map(fileInput).find((e) => e)
		return input ?? (found.length === 1 ? "the element that fits has no file input" : `none of the ${found.length} elements that fit has a file input`)
	}
	const element = found.find(isSeen)
	if (element) return want === "control" && element.tagName === "LABEL" && element.control ? element.control : element
	return found.length === 1 ? "the element that fits cannot be seen" : `none of the ${found.length} elements that fit can be seen`
}
