// Runs on an empty page of an origin, and has what is stored there as JSON, or
// stores it. What JSON has not is an array that begins with its kind; other arrays
// are ["array", […]], and plain objects are themselves. A thing that is there twice
// is ["ref", n] the second time, n counted in the order of their beginnings.
const gaiaStorage = (() => {
	const names = ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"]

	const base64 = (buffer) => {
		const bytes = new Uint8Array(buffer)
		const parts = []
		for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)))
		return btoa(parts.join(""))
	}
	const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer

	// The content of blobs comes later than they do.
	const encoder = (most) => {
		const pending = []
		const spend = (n) => {
			most -= n
			if (most < 0) throw new Error("it is larger than a login may be")
		}
		const binary = (node, buffer) => {
			spend(buffer.byteLength * 4 / 3)
			node.push(base64(buffer))
			return node
		}
		const content = (blob, ...node) => {
			spend(blob.size * 4 / 3)
			pending.push(blob.arrayBuffer().then((buffer) => node.push(base64(buffer))))
			return node
		}
		const encode = (value, seen = new Map()) => {
			spend(8)
			const inner = (v) => encode(v, seen)
			const entries = (list) => list.map(([k, v]) => [k, inner(v)])
			switch (typeof value) {
			case "boolean": return value
			case "undefined": return ["undefined"]
			case "bigint": return ["bigint", String(value)]
			case "number": return Object.is(value, -0) ? ["number", "-0"] : Number.isFinite(value) ? value : ["number", String(value)]
			case "string":
				spend(value.length)
				return value
			}
			if (value === null) return null
			if (seen.has(value)) return ["ref", seen.get(value)]
			seen.set(value, seen.size)
			const kind = Object.prototype.toString.call(value).slice(8, -1)
			if (ArrayBuffer.isView(value)) return ["view", kind, inner(value.buffer), value.byteOffset, value.length ?? value.byteLength]
			switch (kind) {
			case "Object": return Object.fromEntries(entries(Object.entries(value)))
			case "Array":
				if (Object.keys(value).length === value.length) return ["array", value.map(inner)]
				return ["sparse", value.length, entries(Object.entries(value))]
			case "Map": return ["map", [...value].map(([k, v]) => [inner(k), inner(v)])]
			case "Set": return ["set", [...value].map(inner)]
			case "Date": return ["date", value.getTime()]
			case "RegExp": return ["regexp", value.source, value.flags]
			case "Error": return ["error", value.name, value.message, value.stack]
			case "Boolean": case "Number": case "String": case "BigInt": return ["boxed", inner(value.valueOf())]
			case "Blob": return content(value, "blob", value.type)
			case "File": return content(value, "file", value.type, value.name, value.lastModified)
			case "ArrayBuffer":
				if (!value.resizable) return binary(["buffer"], value)
			}
			throw new Error(`a ${kind} cannot be saved`)
		}
		return { encode, spend, settled: () => Promise.all(pending.splice(0)) }
	}

	const decode = (node, seen = []) => {
		if (node === null || typeof node !== "object") return node
		const inner = (n) => decode(n, seen)
		const keep = (value) => {
			seen.push(value)
			return value
		}
		const fill = (object, entries) => {
			for (const [k, v] of entries) Object.defineProperty(object, k, { value: inner(v), writable: true, enumerable: true, configurable: true })
			return object
		}
		if (!Array.isArray(node)) return fill(keep({}), Object.entries(node))
		const [kind, a, b, c, d] = node
		switch (kind) {
		case "undefined": return undefined
		case "bigint": return BigInt(a)
		case "number": return Number(a)
		case "ref": return seen[a]
		case "array": {
			const array = keep([])
			for (const n of a) array.push(inner(n))
			return array
		}
		case "sparse": return fill(keep(new Array(a)), b)
		case "map": {
			const map = keep(new Map())
			for (const [k, v] of a) map.set(inner(k), inner(v))
			return map
		}
		case "set": {
			const set = keep(new Set())
			for (const n of a) set.add(inner(n))
			return set
		}
		case "date": return keep(new Date(a ?? NaN))
		case "regexp": return keep(new RegExp(a, b))
		case "error": {
			const error = keep(new globalThis[names.includes(a) ? a : "Error"](b))
			if (c !== undefined) error.stack = c
			return error
		}
		case "boxed": {
			const at = seen.push(null) - 1
			return seen[at] = Object(inner(a))
		}
		case "blob": return keep(new Blob([bytes(b)], { type: a }))
		case "file": return keep(new File([bytes(d)], b, { type: a, lastModified: c }))
		case "buffer": return keep(bytes(a))
		case "view": {
			const at = seen.push(null) - 1
			const buffer = inner(b)
			if (a !== "DataView" && Object.getPrototypeOf(globalThis[a] ?? {}) !== Object.getPrototypeOf(Int8Array)) throw new Error(`${a} is no view`)
			return seen[at] = new globalThis[a](buffer, c, d)
		}
		}
		throw new Error(`unknown kind ${kind}`)
	}

	const done = (request) => new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result)
		request.onerror = () => reject(request.error)
	})

	// upgrade is called with a database that is new.
	const open = (name, version, upgrade) => {
		const request = indexedDB.open(name, version)
		return new Promise((resolve, reject) => {
			request.onupgradeneeded = () => {
				try {
					upgrade(request.result)
				} catch (error) {
					reject(error)
					request.transaction.abort()
				}
			}
			done(request).then(resolve, reject)
		})
	}

	const within = async (what, work) => {
		try {
			return await work()
		} catch (error) {
			throw new Error(`${what}: ${error.message}`)
		}
	}

	const batch = 100 // records that are in memory at once

	const saveStore = async (db, name, { encode, settled }) => {
		const from = () => db.transaction(name).objectStore(name)
		const { keyPath, autoIncrement, indexNames } = from()
		const indexes = [...indexNames].map((n) => {
			const { name, keyPath, unique, multiEntry } = from().index(n)
			return { name, keyPath, unique, multiEntry }
		})
		const records = []
		for (let range = null; ;) {
			const store = from()
			const [keys, values] = await Promise.all([done(store.getAllKeys(range, batch)), done(store.getAll(range, batch))])
			for (const [i, value] of values.entries()) {
				await within(`record ${records.length + 1}`, () => records.push(keyPath === null ? [encode(value), encode(keys[i])] : [encode(value)]))
			}
			await settled()
			if (keys.length < batch) return { name, keyPath, autoIncrement, indexes, records }
			range = IDBKeyRange.lowerBound(keys.at(-1), true)
		}
	}

	const saveDatabases = async (codec) => {
		const saved = []
		const all = (await indexedDB.databases()).sort((a, b) => a.name < b.name ? -1 : 1)
		for (const { name, version } of all) {
			await within(`database ${JSON.stringify(name)}`, async () => {
				const db = await open(name, undefined, () => { throw new Error("it has gone meanwhile") })
				db.onversionchange = () => db.close() // the page wants it
				try {
					const stores = []
					for (const store of db.objectStoreNames) {
						await within(`store ${JSON.stringify(store)}`, async () => stores.push(await saveStore(db, store, codec)))
					}
					saved.push({ name, version, stores })
				} finally {
					db.close()
				}
			})
		}
		return saved
	}

	const loadDatabase = ({ name, version, stores }) => within(`database ${JSON.stringify(name)}`, async () => {
		await done(indexedDB.deleteDatabase(name))
		const db = await open(name, version, (db) => {
			for (const { name, keyPath, autoIncrement, indexes, records } of stores) {
				const store = db.createObjectStore(name, { keyPath, autoIncrement })
				for (const { name, keyPath, unique, multiEntry } of indexes) store.createIndex(name, keyPath, { unique, multiEntry })
				for (const [value, ...key] of records) store.add(decode(value), ...key.map((k) => decode(k)))
			}
		})
		db.close()
	})

	const items = (storage, { spend }) => Array.from({ length: storage.length }, (_, i) => storage.key(i)).sort().map((key) => {
		const value = storage.getItem(key)
		spend(key.length + value.length)
		return [key, value]
	})

	const commands = {
		save: async (most) => {
			const codec = encoder(most)
			const saved = { local: items(localStorage, codec), session: items(sessionStorage, codec), databases: await saveDatabases(codec) }
			return JSON.stringify(Object.fromEntries(Object.entries(saved).filter(([, list]) => list.length > 0)))
		},
		load: async (text) => {
			const { local = [], session = [], databases = [] } = JSON.parse(text)
			for (const [k, v] of local) localStorage.setItem(k, v)
			for (const [k, v] of session) sessionStorage.setItem(k, v)
			for (const database of databases) await loadDatabase(database)
			return ""
		},
	}

	// A frame of another site, whose storage is its own below each site.
	const inFrame = (origin, name, argument) => new Promise((resolve, reject) => {
		const frame = document.createElement("iframe")
		addEventListener("message", (e) => {
			if (e.source !== frame.contentWindow) return
			if (e.data.error === undefined) resolve(e.data.value)
			else reject(new Error(e.data.error))
		})
		frame.onload = () => frame.contentWindow.postMessage([name, argument], origin)
		frame.src = origin + "/"
		document.body.append(frame)
	})

	if (parent !== window) {
		addEventListener("message", async (e) => {
			const [name, argument] = e.data
			try {
				parent.postMessage({ value: await commands[name](argument) }, "*")
			} catch (error) {
				parent.postMessage({ error: error.message }, "*")
			}
		})
	}

	// Does a command at an origin, which is this page's, or a frame's in it.
	return async (origin, name, argument) => {
		try {
			return { value: location.origin === origin ? await commands[name](argument) : await inFrame(origin, name, argument) }
		} catch (error) {
			return { error: error.message }
		}
	}
})()
