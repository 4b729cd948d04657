package controller

import (
	"container/heap"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// maxLifted is how many lifted verdicts are remembered; beyond it the first to
// expire is forgotten.
const maxLifted = 1 << 16

// lateRenewal is how long after a lift a renewal may still be on its way from a
// detection that lags behind.
const lateRenewal = time.Hour

// tombstones are lifted verdicts until they would have expired, and for
// lateRenewal at least, so that a late copy does not bring one back. They are
// not for concurrent use.
type tombstones struct {
	expires map[mitigate.ID]int64 // ns since the epoch
	order   tombHeap
}

func newTombstones() *tombstones {
	return &tombstones{expires: make(map[mitigate.ID]int64)}
}

func (t *tombstones) add(id mitigate.ID, of detect.Subject, expires, now int64) {
	if _, ok := t.expires[id]; ok || expires <= now {
		return
	}
	if len(t.order) >= maxLifted {
		delete(t.expires, heap.Pop(&t.order).(tombstone).id)
	}
	t.expires[id] = expires
	heap.Push(&t.order, tombstone{id, expires, of})
}

func (t *tombstones) has(id mitigate.ID, now int64) bool { return t.expires[id] > now }

func (t *tombstones) expire(now int64) {
	for len(t.order) > 0 && t.order[0].expires <= now {
		delete(t.expires, heap.Pop(&t.order).(tombstone).id)
	}
}

type tombstone struct {
	id      mitigate.ID
	expires int64
	subject detect.Subject
}

// tombHeap has the first to expire at its root.
type tombHeap []tombstone

func (h tombHeap) Len() int           { return len(h) }
func (h tombHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h tombHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *tombHeap) Push(x any)        { *h = append(*h, x.(tombstone)) }
func (h *tombHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
