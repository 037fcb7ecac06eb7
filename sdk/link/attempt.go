package link

// attempt is a system call that does not wait: for what a socket takes, or
// has, at once.
type attempt struct {
	run  func(fd uintptr) bool // made once, for it would be an allocation each time
	data []byte
	n    int
	err  error
}
