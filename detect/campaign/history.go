package campaign

// bloom is a Bloom filter with four bits a key, all in one word: a look costs
// one cache line. Its length is a power of two.
type bloom []uint64

func newBloom(bits int) bloom { return make(bloom, bits/64) }

func (b bloom) word(key uint64) (word *uint64, bits uint64) {
	return &b[key>>32&uint64(len(b)-1)], bitsOf(key)
}

func bitsOf(key uint64) uint64 {
	return 1<<(key&63) | 1<<(key>>6&63) | 1<<(key>>12&63) | 1<<(key>>18&63)
}

func (b bloom) add(key uint64) {
	word, bits := b.word(key)
	*word |= bits
}

func (b bloom) has(key uint64) bool {
	word, bits := b.word(key)
	return *word&bits == bits
}

// history remembers which accounts have logged in from which networks. A pair
// is known once a whole day lies between its first success and now: a stolen
// account that is tried again does not vouch for the thief. What was not seen
// for two to three months is forgotten.
type history struct {
	lines       []line // a power of two of them
	day, season uint32
}

// line is a word of each of four filters, which are looked at together: today,
// yesterday, and older than that, younger and older.
type line struct{ today, yesterday, young, old uint64 }

// season is how many days the younger filter of the past is filled.
const season = 45

// newHistory holds about a tenth as many pairs as it has bits, in each filter.
func newHistory(bits int) *history { return &history{lines: make([]line, bits/64)} }

// turn brings the history to a time, s.
func (h *history) turn(now uint32) {
	today := now / day
	if h.day == 0 {
		h.day, h.season = today, today
	}
	if today <= h.day {
		return
	}
	next, late := today == h.day+1, today >= h.season+season
	for i := range h.lines {
		l := &h.lines[i]
		l.young |= l.yesterday
		if next {
			l.yesterday = l.today
		} else {
			l.young |= l.today
			l.yesterday = 0
		}
		l.today = 0
		if late {
			l.old, l.young = l.young, 0
		}
	}
	h.day = today
	if late {
		h.season = today
	}
}

func (h *history) line(pair uint64) (l *line, bits uint64) {
	return &h.lines[pair>>32&uint64(len(h.lines)-1)], bitsOf(pair)
}

// know records a success.
func (h *history) know(pair uint64) {
	l, bits := h.line(pair)
	l.today |= bits
	if l.old&bits == bits {
		l.young |= bits
	}
}

// knows reports whether a pair is known.
func (h *history) knows(pair uint64) bool {
	l, bits := h.line(pair)
	return l.young&bits == bits || l.old&bits == bits
}

// has reports whether a pair has ever been seen.
func (h *history) has(pair uint64) bool {
	l, bits := h.line(pair)
	return l.today&bits == bits || l.yesterday&bits == bits || l.young&bits == bits || l.old&bits == bits
}

// today reports whether a pair has been seen on this day.
func (h *history) today(pair uint64) bool {
	l, bits := h.line(pair)
	return l.today&bits == bits
}

// visitors remembers which clients have lately asked for something that is no
// login, as an app does when it starts and a browser before it shows a form.
type visitors struct {
	now, before bloom
	period      uint32
}

// visit is how long a visit counts at least, s; at most twice that.
const visit = 900

func newVisitors(bits int) *visitors { return &visitors{now: newBloom(bits), before: newBloom(bits)} }

func (v *visitors) turn(now uint32) {
	period := now / visit
	if period <= v.period {
		return
	}
	v.now, v.before = v.before, v.now
	clear(v.now)
	if period > v.period+1 {
		clear(v.before)
	}
	v.period = period
}

func (v *visitors) add(client uint64)      { v.now.add(client) }
func (v *visitors) has(client uint64) bool { return v.now.has(client) || v.before.has(client) }
