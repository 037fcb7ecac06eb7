// What the browser has no command for, done in each document and worker before its
// own scripts. A page that wants to get around it can; it does not get around the
// rules of egress.
(function(patterns) {
	// Shared workers belong to no page, so that no option of one holds in them.
	delete globalThis.SharedWorker
	if (patterns.length === 0 || !globalThis.WebSocket) return
	const escape = (text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&")
	const blocked = patterns.map((pattern) => new RegExp("^" + pattern.split("*").map(escape).join("[^]*") + "$"))
	const isBlocked = (address) => {
		try {
			const url = new URL(address, globalThis.document ? document.baseURI : location.href).href.replace(/^http/, "ws")
			return blocked.some((pattern) => pattern.test(url))
		} catch {
			return false // no URL: the browser throws
		}
	}
	const real = WebSocket
	globalThis.WebSocket = new Proxy(real, {
		construct(target, [address, ...rest], self) {
			// A port that browsers refuse: it fails as without a network.
			return Reflect.construct(target, [isBlocked(address) ? "wss://127.0.0.1:1/" : address, ...rest], self)
		},
	})
	real.prototype.constructor = globalThis.WebSocket
})
