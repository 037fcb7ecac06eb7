package link

import "fmt"

// parts is what has come of an answer that comes in several.
type parts struct {
	begun  bool
	total  int // bytes that were announced; 0: it was not said how many
	come   int // bytes
	unpaid int // bytes that have come and had no credit yet
}

// take counts a part of an answer in. It says what is wrong with it, if it
// does not go on with what has come.
func (p *parts) take(a *Answer) error {
	if a.Part && !p.begun {
		return fmt.Errorf("a part of an answer that has not begun")
	}
	if !a.Part { // perhaps anew, and what had come is void
		*p = parts{begun: true, total: a.Total}
	}
	if a.Code != 0 {
		return nil // it breaks off
	}
	p.come += len(a.Payload)
	if a.More {
		p.unpaid += len(a.Payload)
	}
	switch {
	case p.total > 0 && (p.come > p.total || !a.More && p.come < p.total):
		return fmt.Errorf("%d bytes of an answer of %d", p.come, p.total)
	case p.come > MaxAnswer:
		return fmt.Errorf("%d bytes of an answer, at most %d are allowed", p.come, MaxAnswer)
	case p.unpaid > 2*answerWindow: // twice: credit for an answer that begins anew may be on its way to who gives the new one
		return fmt.Errorf("%d bytes of an answer without credit, at most %d are allowed", p.unpaid, answerWindow)
	}
	return nil
}

// pay takes as much of a credit as is due. The rest was for an answer that has
// begun anew.
func (p *parts) pay(credit int) (due int) {
	due = min(credit, p.unpaid)
	p.unpaid -= due
	return due
}
