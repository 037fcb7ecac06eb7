// Returns what a person would read: the text of the element that it is called on, or
// of the part of the page that is the most of its text, with a line for each block,
// "- " before list items and tabs between table cells. null if it is longer than most.
function(most) {
	const skipped = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "SVG", "CANVAS", "IFRAME", "OBJECT", "HEAD", "SELECT", "BUTTON", "INPUT", "TEXTAREA"])
	const around = "nav, aside, footer, [role=navigation], [role=banner], [role=contentinfo], [role=complementary], [role=dialog], [aria-hidden=true]"

	const hidden = (element) => {
		const style = getComputedStyle(element)
		return style.display === "none" || style.visibility === "hidden" || style.contentVisibility === "hidden"
	}

	// The text that stands in paragraphs below an element, links left out: menus
	// have much text and no sentences.
	const weight = (element) => {
		let sum = 0
		for (const p of element.querySelectorAll("p, li, pre, td, blockquote, h1, h2, h3")) {
			const links = [...p.querySelectorAll("a")].reduce((n, a) => n + a.textContent.length, 0)
			sum += Math.max(0, p.textContent.trim().length - 2 * links)
		}
		return sum
	}

	const main = () => {
		const body = document.body
		if (!body) return document.documentElement
		const whole = weight(body)
		for (const candidate of document.querySelectorAll("article, main, [role=main]")) {
			if (whole > 0 && weight(candidate) >= 0.5 * whole && !hidden(candidate)) return candidate
		}
		return body
	}

	const lines = [""]
	const add = (text) => { lines[lines.length - 1] += text }
	const line = () => { if (lines[lines.length - 1] !== "") lines.push("") }
	const gap = () => { line(); if (lines.length > 1 && lines[lines.length - 2] !== "") lines.push("") }

	const walk = (node, preformatted) => {
		if (node.nodeType === Node.TEXT_NODE) {
			const text = preformatted ? node.data : node.data.replace(/[ \t\n\r\f]+/g, " ")
			if (!preformatted) return add(lines[lines.length - 1] === "" || lines[lines.length - 1].endsWith(" ") ? text.trimStart() : text)
			text.split("\n").forEach((part, i) => { if (i > 0) lines.push(""); add(part) })
			return
		}
		if (node.nodeType !== Node.ELEMENT_NODE && node.nodeType !== Node.DOCUMENT_FRAGMENT_NODE) return
		if (node.nodeType === Node.ELEMENT_NODE) {
			if (skipped.has(node.tagName.toUpperCase()) || hidden(node)) return
			if (node !== root && root === document.body && node.matches(around)) return
		}
		const name = node.tagName
		if (name === "BR") return lines.push("")
		if (name === "IMG") return node.alt ? add(node.alt) : undefined
		const display = node.nodeType === Node.ELEMENT_NODE ? getComputedStyle(node).display : "contents"
		const isCell = display === "table-cell"
		const isBlock = !isCell && !display.startsWith("inline") && display !== "contents"
		const isParagraph = /^(P|H[1-6]|UL|OL|TABLE|PRE|BLOCKQUOTE|ARTICLE|SECTION)$/.test(name)
		if (isParagraph) gap()
		else if (isBlock) line()
		if (name === "LI") add("- ")
		if (isCell && lines[lines.length - 1] !== "") add("\t")
		const children = name === "SLOT" && node.assignedNodes().length > 0 ? node.assignedNodes() : (node.shadowRoot || node).childNodes
		for (const child of children) walk(child, preformatted || name === "PRE")
		if (isParagraph) gap()
		else if (isBlock) line()
	}

	const root = this instanceof Element ? this : main()
	if (!root) return ""
	walk(root, false)
	const text = lines.map((l) => l.trimEnd()).join("\n").replace(/\n{3,}/g, "\n\n").trim()
	return text.length > most ? null : text
}
