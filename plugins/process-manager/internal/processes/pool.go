package processes

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// pool has groups for calls of Run. To make and remove one takes longer than to
// start a process, so some that are empty wait for the next call with the same
// limits. The zero value is ready. It is safe for concurrent use.
type pool struct {
	mu     sync.Mutex
	serial uint64
	idle   map[tree.Limits][]*tree.Group
	count  int // of idle
}

// maxIdle is as many groups as calls are usually under way on a few processors.
const maxIdle = 16

// take returns an empty group. It is the caller's, to be given or removed.
func (p *pool) take(forest *tree.Forest, limits tree.Limits) (*tree.Group, error) {
	p.mu.Lock()
	if idle := p.idle[limits]; len(idle) > 0 {
		group := idle[len(idle)-1]
		p.idle[limits] = idle[:len(idle)-1]
		p.count--
		p.mu.Unlock()
		return group, nil
	}
	p.serial++
	name := fmt.Sprintf(".run-%d", p.serial) // no process has such a name
	p.mu.Unlock()
	return forest.New(name, limits)
}

// give takes a group back that is empty and was never killed; see clearAway. One that
// is still charged with memory, such as that of files in a tmpfs, would have the next
// call pay for it.
func (p *pool) give(group *tree.Group, limits tree.Limits) error {
	if limits.Memory > 0 && group.Usage().Memory > limits.Memory/8 {
		return group.Remove()
	}
	p.mu.Lock()
	if p.count < maxIdle {
		if p.idle == nil {
			p.idle = make(map[tree.Limits][]*tree.Group)
		}
		p.idle[limits] = append(p.idle[limits], group)
		p.count++
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	return group.Remove()
}

// close removes the groups that wait.
func (p *pool) close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.count = nil, maxIdle
	p.mu.Unlock()
	var faults []error
	for _, groups := range idle {
		for _, group := range groups {
			faults = append(faults, group.Remove())
		}
	}
	return errors.Join(faults...)
}
