package state

import (
	"sync"
	"time"
)

// Stats are the books of a state's writing.
type Stats struct {
	Restored time.Time     // event time that it was restored up to; zero: it was not
	Written  time.Time     // when the last one was on the disk; zero: none of this process
	Bytes    int64         // of that one
	Pause    time.Duration // for which detection stood still for it
	Took     time.Duration // to pack and write it
	Errors   uint64        // that could not be written
}

// Books keep them, for any goroutine. The zero value is ready.
type Books struct {
	mu sync.Mutex
	s  Stats
}

// Stats returns the books as they stand.
func (b *Books) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s
}

// Restored notes up to when the state was restored.
func (b *Books) Restored(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Restored = at
}

// Wrote notes that one was written, or was not.
func (b *Books) Wrote(size int64, pause, took time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.s.Errors++
		return
	}
	b.s.Written, b.s.Bytes, b.s.Pause, b.s.Took = time.Now(), size, pause, took
}
