package coordinator

// Exclusive reports whether two instances cannot run at once: here they listen at
// the same sockets, which the host keeps.
func (c *Coordinator) Exclusive() bool { return false }
