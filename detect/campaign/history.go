package campaign

// bloom is a Bloom filter with four bits a key, all in one word: a look costs
// one cache line. Its length is a power of two.
type bloom []uint64

func newBloom(bits int) bloom { return make(bloom, bits/64) }

func (b bloom) word(key uint64) (word *uint64, bits uint64) {
	return &b[key>>32&uint64(len(b)-1)], 1<<(key&63) | 1<<(key>>6&63) | 1<<(key>>12&63) | 1<<(key>>18&63)
}

func (b bloom) add(key uint64) {
	word, bits := b.word(key)
	*word |= bits
}

func (b bloom) has(key uint64) bool {
	word, bits := b.word(key)
	return *word&bits == bits
}

func (b bloom) merge(other bloom) {
	for i := range b {
		b[i] |= other[i]
	}
}

// history remembers which accounts have logged in from which networks. A pair
// is known once a whole day lies between its first success and now: a stolen
// account that is tried again does not vouch for the thief. What was not seen
// for two to three months is forgotten.
type history struct {
	today, yesterday bloom
	young, old       bloom // older than yesterday
	day, season      uint32
}

// season is how many days the younger filter of the past is filled.
const season = 45

// newHistory holds about a tenth as many pairs as it has bits, in each filter.
func newHistory(bits int) *history {
	return &history{today: newBloom(bits), yesterday: newBloom(bits), young: newBloom(bits), old: newBloom(bits)}
}

// turn brings the history to a time, s.
func (h *history) turn(now uint32) {
	today := now / day
	if h.day == 0 {
		h.day, h.season = today, today
	}
	if today <= h.day {
		return
	}
	h.young.merge(h.yesterday)
	clear(h.yesterday)
	if today == h.day+1 {
		h.today, h.yesterday = h.yesterday, h.today
	} else {
		h.young.merge(h.today)
		clear(h.today)
	}
	h.day = today
	if today >= h.season+season {
		h.young, h.old = h.old, h.young
		clear(h.young)
		h.season = today
	}
}

// know records a success.
func (h *history) know(pair uint64) {
	h.today.add(pair)
	if h.old.has(pair) {
		h.young.add(pair)
	}
}

// knows reports whether a pair is known.
func (h *history) knows(pair uint64) bool { return h.young.has(pair) || h.old.has(pair) }

// has reports whether a pair has ever been seen.
func (h *history) has(pair uint64) bool {
	return h.today.has(pair) || h.yesterday.has(pair) || h.knows(pair)
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
