package search

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// automaton tells quickly that a line does not match. A regular expression goes
// through a line with all its threads again and again; the automaton makes a state
// of each set of threads that it meets, and takes one step a byte from then on
// (Thompson 1968). It knows ASCII only: other lines are left to the expression.
// It is for one goroutine.
type automaton struct {
	prog   *syntax.Prog
	states map[string]*automatonState
	start  *automatonState
	found  *automatonState // all lines that come here match
	size   int             // of all threads in states
	resets int

	stack, threads []uint32 // reused
	visited        []bool   // by thread
}

// Bounds of an automaton, about 2 MiB. Expressions that need more are started anew
// a few times, and then left to regexp.
const (
	maxStates  = 1000
	maxThreads = 100_000
	maxResets  = 10
)

type automatonState struct {
	threads []uint32 // where they are before assertions such as ^ are judged
	begin   bool     // nothing has come before
	word    bool     // a word character has
	next    [utf8.RuneSelf]*automatonState
	end     verdict // if the line ends here
}

type verdict uint8

const (
	unknown verdict = iota
	matches
	fails
)

// newAutomaton makes the automaton of a valid expression.
func newAutomaton(expression string) *automaton {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	a := &automaton{prog: prog, visited: make([]bool, len(prog.Inst))}
	a.reset()
	return a
}

func (a *automaton) reset() {
	a.states, a.size = make(map[string]*automatonState), 0
	a.found = &automatonState{}
	a.start = a.state([]uint32{uint32(a.prog.Start)}, true, false) //nolint:gosec // G115: an index
}

// mayMatch reports whether a line may match. It errs on the side of true.
func (a *automaton) mayMatch(line []byte) bool {
	if a == nil || a.resets > maxResets {
		return true
	}
	s := a.start
	for _, c := range line {
		if c >= utf8.RuneSelf {
			return true
		}
		next := s.next[c]
		if next == nil {
			next = a.step(s, c)
		}
		if s = next; s == a.found {
			return true
		}
	}
	if s.end == unknown {
		s.end = a.atEnd(s)
	}
	return s.end == matches
}

// step finds the state after one more byte. Since a match may begin anywhere, a
// thread begins with each.
func (a *automaton) step(s *automatonState, c byte) *automatonState {
	if len(a.states) >= maxStates || a.size >= maxThreads {
		a.resets++
		a.reset() // s is not among the states any more, and serves this line only
	}
	word := syntax.IsWordChar(rune(c))
	if a.follow(s.threads, assertions(s, word)) {
		s.next[c] = a.found
		return a.found
	}
	threads := make([]uint32, 0, len(a.threads)+1)
	for _, thread := range a.threads {
		inst := &a.prog.Inst[thread]
		if inst.Op == syntax.InstRuneAny || inst.Op == syntax.InstRuneAnyNotNL || inst.MatchRune(rune(c)) {
			threads = append(threads, inst.Out)
		}
	}
	threads = append(threads, uint32(a.prog.Start)) //nolint:gosec // G115: an index
	slices.Sort(threads)
	s.next[c] = a.state(slices.Compact(threads), false, word)
	return s.next[c]
}

func (a *automaton) atEnd(s *automatonState) verdict {
	if a.follow(s.threads, assertions(s, false)|syntax.EmptyEndText|syntax.EmptyEndLine) {
		return matches
	}
	return fails
}

// assertions are those that hold between what has come before and a character.
func assertions(s *automatonState, word bool) syntax.EmptyOp {
	var hold syntax.EmptyOp
	if s.begin {
		hold |= syntax.EmptyBeginText | syntax.EmptyBeginLine
	}
	if s.word != word {
		return hold | syntax.EmptyWordBoundary
	}
	return hold | syntax.EmptyNoWordBoundary
}

// follow leads threads to where they wait for a character, which a.threads then
// says, and reports whether one has matched.
func (a *automaton) follow(from []uint32, hold syntax.EmptyOp) (matched bool) {
	clear(a.visited)
	a.threads = a.threads[:0]
	a.stack = append(a.stack[:0], from...)
	for len(a.stack) > 0 {
		thread := a.stack[len(a.stack)-1]
		a.stack = a.stack[:len(a.stack)-1]
		if a.visited[thread] {
			continue
		}
		a.visited[thread] = true
		switch inst := &a.prog.Inst[thread]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			a.stack = append(a.stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			a.stack = append(a.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^hold == 0 { //nolint:gosec // G115: an EmptyOp
				a.stack = append(a.stack, inst.Out)
			}
		case syntax.InstMatch:
			return true
		case syntax.InstFail:
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			a.threads = append(a.threads, thread)
		}
	}
	return false
}

// state returns the state of a set of threads.
func (a *automaton) state(threads []uint32, begin, word bool) *automatonState {
	key := make([]byte, 0, 4*len(threads)+1)
	for _, thread := range threads {
		key = binary.NativeEndian.AppendUint32(key, thread)
	}
	if word {
		key = append(key, 1)
	}
	if begin {
		key = append(key, 2)
	}
	s, known := a.states[string(key)]
	if !known {
		s = &automatonState{threads: threads, begin: begin, word: word}
		a.states[string(key)] = s
		a.size += len(threads)
	}
	return s
}
