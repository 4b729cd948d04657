package afpacket

import (
	"sync/atomic"

	"offpath/capture"
)

// books are what one worker has counted, for others to read. The worker itself
// counts in a tally and posts that after each batch.
type books struct {
	bytes         atomic.Uint64
	frames        [capture.Dispositions]atomic.Uint64
	snapLengthCut atomic.Uint64
	timeBackwards atomic.Uint64
	fragments     atomic.Pointer[capture.FragmentStats]
}

// tally is what one batch adds to the books.
type tally struct {
	bytes         uint64
	frames        [capture.Dispositions]uint64
	snapLengthCut uint64
	timeBackwards uint64
}

// post adds a batch; fragments are the decoder's books up to then.
func (b *books) post(t *tally, fragments capture.FragmentStats) {
	for d, n := range t.frames {
		if n != 0 {
			b.frames[d].Add(n)
		}
	}
	b.bytes.Add(t.bytes)
	if t.snapLengthCut != 0 {
		b.snapLengthCut.Add(t.snapLengthCut)
	}
	if t.timeBackwards != 0 {
		b.timeBackwards.Add(t.timeBackwards)
	}
	if fragments != b.fragmentStats() {
		published := fragments
		b.fragments.Store(&published)
	}
}

func (b *books) addTo(s *capture.Stats) {
	for d := range b.frames {
		n := b.frames[d].Load()
		s.Frames[d] += n
		s.Received += n
	}
	s.Bytes += b.bytes.Load()
	s.SnapLengthCut += b.snapLengthCut.Load()
	s.TimeBackwards += b.timeBackwards.Load()
	s.Fragments.Add(b.fragmentStats())
}

func (b *books) fragmentStats() capture.FragmentStats {
	if f := b.fragments.Load(); f != nil {
		return *f
	}
	return capture.FragmentStats{}
}
