// Package keeper keeps for plugins what must outlive their instances: file
// descriptors, and the processes that an instance has started.
//
// The host holds duplicates of the pipes, terminals, sockets and pidfds that an
// instance hands over under a name, and gives them to its successor. It is also
// the child subreaper: when an instance ends, its descendants become children
// of the host instead of init's. Those that are kept live on, and how they end
// is seen; all others are killed and waited for, also those that have made a
// session of their own.
//
// One goroutine, that of Keeper.Run, owns all state; others send it functions.
// Linux only; elsewhere there is nothing but the names.
package keeper
