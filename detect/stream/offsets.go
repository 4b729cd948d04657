package stream

import (
	"sync"

	"github.com/segmentio/kafka-go"

	"offpath/reassembly"
)

// offsets knows, per partition, up to which offset everything was emitted. It
// is safe for concurrent use.
type offsets struct {
	mu         sync.Mutex
	partitions map[int]*pending
	watermark  int64        // that everything done ends before
	marks      []checkpoint // how far it was, for what is committed only once it is kept
}

// checkpoint is what can be committed once everything that ends before a watermark
// is kept.
type checkpoint struct {
	watermark int64
	next      map[int]int64
}

// maxMarks bounds the checkpoints, one a second: beyond it every second one goes.
const maxMarks = 4096

// pending are the messages of a partition that were received and not yet
// committed, in order of their offsets.
type pending struct {
	messages []received
	done     int   // how many at the head of messages are done
	next     int64 // offset to commit: one past the last message that is done; -1: none
	last     int64 // committed last
}

// received is a message with the end of its transaction. A bare watermark is
// done as soon as all before it are.
type received struct {
	offset, end int64
	bare        bool
}

func newOffsets(assigned []kafka.PartitionAssignment) *offsets {
	o := &offsets{partitions: map[int]*pending{}}
	for _, a := range assigned {
		o.partitions[a.ID] = &pending{next: -1, last: -1}
	}
	return o
}

func (o *offsets) received(partition int, offset int64, tx *reassembly.Transaction) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := received{offset: offset, bare: tx == nil}
	if tx != nil {
		r.end = tx.End
	}
	p := o.partitions[partition]
	p.messages = append(p.messages, r)
}

// emitted says that every transaction that ends before watermark was emitted.
func (o *offsets) emitted(watermark int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watermark = watermark
	for _, p := range o.partitions {
		for p.done < len(p.messages) && (p.messages[p.done].bare || p.messages[p.done].end < watermark) {
			p.next = p.messages[p.done].offset + 1
			p.done++
		}
		if p.done > len(p.messages)/2 {
			p.messages = append(p.messages[:0], p.messages[p.done:]...)
			p.done = 0
		}
	}
}

// committable returns what can be committed and was not yet.
func (o *offsets) committable() map[int]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := map[int]int64{}
	for id, p := range o.partitions {
		if p.next >= 0 && p.next != p.last {
			next[id] = p.next
		}
	}
	return next
}

// mark remembers how far it is.
func (o *offsets) mark() {
	next := o.committable()
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := len(o.marks) - 1; len(next) == 0 || last >= 0 && o.marks[last].watermark == o.watermark {
		return
	}
	if len(o.marks) == maxMarks {
		for i := range maxMarks / 2 {
			o.marks[i] = o.marks[2*i]
		}
		o.marks = o.marks[:maxMarks/2]
	}
	o.marks = append(o.marks, checkpoint{o.watermark, next})
}

// kept returns what can be committed when everything that ends before a watermark is
// kept.
func (o *offsets) kept(watermark int64) (next map[int]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.marks) > 0 && o.marks[0].watermark <= watermark {
		next, o.marks = o.marks[0].next, o.marks[1:]
	}
	return next
}

func (o *offsets) committed(next map[int]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, offset := range next {
		o.partitions[id].last = offset
	}
}
