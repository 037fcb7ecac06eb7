package config

// KeyLimit is how many calls with the same value of a key may be in flight.
type KeyLimit struct {
	Key         string // unique in its subsystem
	Concurrency int    // calls in flight for each value; at least 1
	Queue       int    // calls that wait for one of these places, for each value; 0 refuses at once
}

func newKeyLimit(key string) KeyLimit { return KeyLimit{Key: key} }

func (l *KeyLimit) table() table {
	return table{
		name: "per_key",
		doc: "How many calls with the same value of a key, such as a domain, may be in flight. The label is a key that the plugin's methods declare. " +
			"There may be several, with a key of its own each.",
		label:      "key",
		checkLabel: checkKey,
		arguments: []argument{
			{name: "concurrency", required: true, doc: "Calls in flight at once for each value of the key.", target: intAt{&l.Concurrency, 1, maxCalls}},
			{name: "queue", doc: "Calls that wait while all of these are in flight, for each value; 0 refuses them at once.", target: intAt{&l.Queue, 0, maxCalls}},
		},
	}
}
