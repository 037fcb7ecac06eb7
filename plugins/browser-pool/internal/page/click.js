// Brings the element into view and returns where to click it (X, Y), or what hinders a
// click yet (Hindered): it is what would be hit there, and stood still for two frames.
async function(attempt) {
	const frame = () => new Promise((resolve) => { requestAnimationFrame(resolve); setTimeout(resolve, 100) })
	const outerOf = (node) => node.assignedSlot || node.parentNode || node.host
	const isWithin = (node, outer) => {
		while (node && node !== outer) node = outerOf(node)
		return Boolean(node)
	}
	const name = (element) => {
		const tag = element.cloneNode(false).outerHTML.replace(/<\/[^>]*>$/, "")
		return tag.length > 120 ? tag.slice(0, 120) + "…" : tag
	}
	// The middle of its first part that is in the viewport.
	const middle = () => {
		let parts = this.getClientRects()
		if (parts.length === 0) { // display: contents
			const range = document.createRange()
			range.selectNodeContents(this)
			parts = range.getClientRects()
		}
		for (const part of parts) {
			const left = Math.max(part.left, 0), right = Math.min(part.right, innerWidth)
			const top = Math.max(part.top, 0), bottom = Math.min(part.bottom, innerHeight)
			if (right - left >= 1 && bottom - top >= 1) return [(left + right) / 2, (top + bottom) / 2]
		}
		return null
	}

	// What a click on it is for: a part of a button is the button.
	const aim = this.closest("button, a, [role=button], [role=link], label, summary") || this
	if (this.matches(":disabled") || aim.matches(":disabled")) return { Hindered: "it is disabled" }

	// Where it comes to by itself it may be under a bar; the next attempts try others.
	if (attempt % 4 === 0) this.scrollIntoViewIfNeeded()
	else this.scrollIntoView({ block: ["end", "center", "start"][attempt % 4 - 1], inline: "center", behavior: "instant" })
	await frame()
	const first = middle()
	await frame()
	const second = middle()
	if (!this.isConnected) return { Hindered: "it has left the page" }
	if (!first || !second) return { Hindered: "it cannot be brought into the viewport" }
	const [x, y] = second
	if (Math.abs(x - first[0]) > 0.5 || Math.abs(y - first[1]) > 0.5) return { Hindered: "it moves" }

	let hit = document.elementFromPoint(x, y)
	while (hit?.shadowRoot) {
		const inner = hit.shadowRoot.elementFromPoint(x, y)
		if (!inner || inner === hit) break
		hit = inner
	}
	if (hit && (isWithin(hit, aim) || hit.closest("label")?.control === this)) return { X: x, Y: y }
	return { Hindered: hit ? "it is covered by " + name(hit) : "nothing is there to be hit" }
}
