package shape

import "time"

// turn is the order in which somebody is served.
type turn struct {
	tag   int64     // bytes; the lowest is next
	index int       // in the queue, from 1; 0 when not in it
	seen  time.Time // when it was served last
}

func (t *turn) get() *turn { return t }

// back puts the tag of who comes back to where the clock is, less so many bytes
// if it was there a cycle ago.
func (t *turn) back(clock int64, lag int, now time.Time) {
	if now.Sub(t.seen) < cycle {
		clock -= int64(lag)
	}
	t.tag = max(t.tag, clock)
}

// queue is a heap of those who wait, the next one first.
type queue[T interface{ get() *turn }] []T

func (q *queue[T]) push(t T) {
	*q = append(*q, t)
	t.get().index = len(*q)
	q.up(len(*q) - 1)
}

func (q *queue[T]) remove(t T) {
	i, last := t.get().index-1, len(*q)-1
	q.swap(i, last)
	var none T
	(*q)[last] = none
	*q = (*q)[:last]
	t.get().index = 0
	if i < last {
		q.fix((*q)[i])
	}
}

// fix moves t to where its tag, which has changed, belongs.
func (q *queue[T]) fix(t T) {
	q.up(t.get().index - 1)
	q.down(t.get().index - 1)
}

func (q *queue[T]) up(i int) {
	for i > 0 && q.less(i, (i-1)/2) {
		q.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (q *queue[T]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(*q); child++ {
			if q.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}

func (q *queue[T]) less(i, j int) bool { return (*q)[i].get().tag < (*q)[j].get().tag }

func (q *queue[T]) swap(i, j int) {
	s := *q
	s[i], s[j] = s[j], s[i]
	s[i].get().index, s[j].get().index = i+1, j+1
}
