package conformance

import "context"

// check is one promise of a plugin.
type check struct {
	name string
	run  func(context.Context, *suite) error
	// always says that the check makes sense for a plugin that cannot be started
	// or described.
	always bool
}

// checks are all, in the order in which they are made: what others need comes
// first.
func checks() []check {
	return []check{
		{name: "Run by hand, it says what it is", run: saysWhatItIs, always: true},
		{name: "It shakes hands", run: shakesHands, always: true},
		{name: "Standard output has the handshake and nothing else", run: isQuiet},
		{name: "Its description is whole", run: describesItself},
		{name: "Its API is documented", run: isDocumented},
		{name: "It says that it is well", run: isWell},

		{name: "It takes its config", run: takesConfig},
		{name: "It takes no config{} block, or says what it misses", run: takesNoConfig},
		{name: "It refuses what is no config and goes on", run: refusesRubbish},
		{name: "It takes a value or says what is wrong with it, where", run: refusesWrongValues},
		{name: "It takes another config while it runs", run: takesAnotherConfig},

		{name: "A method that it does not have is Unimplemented", run: knowsItsMethods},
		{name: "What is no message is an error, and it lives on", run: survivesRubbish},
		{name: "An extreme request is answered in order", run: survivesExtremes},
		{name: "A message may have 5 MiB", run: takesLargeMessages},
		{name: "It serves many calls at once", run: servesManyAtOnce},
		{name: "It serves the link that it promises", run: servesLink},
		{name: "A call ends when its deadline is over", run: obeysDeadlines},
		{name: "A call ends when its caller has gone", run: noticesCancellation},
		{name: "Cancelled calls leave nothing behind", run: leaksNothing},
		{name: "Its metrics are fit for Prometheus", run: hasMetrics},

		{name: "Calls that last end when a drain is announced, and others go on", run: endsWhatLasts},
		{name: "Drain lets nobody in and waits for calls", run: drains},
		{name: "SIGTERM loses no call and ends it with code 0", run: endsInOrder},
		{name: "It ends with its host", run: endsWithHost},
		{name: "It starts again after kill -9", run: startsAfterKill},
		{name: "Twenty starts leave nothing behind", run: startsAgain},
	}
}
