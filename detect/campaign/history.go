package campaign

import "offpath/detect/internal/generations"

// history remembers on which days something was seen: which accounts have
// logged in from which networks, and the like. It is exact: a pair that was
// taken for known by mistake, one in a hundred, would be enough to make an
// attack look like customers. It grows with what is seen, up to a limit, beyond
// which the longest unseen is forgotten.
type history struct {
	seen  *generations.Map[days]
	today uint16
}

// days are the first and the last day, counted from the epoch.
type days struct{ first, last uint16 }

// season is after how many days what was not seen is forgotten.
const season = 90

func newHistory(limit int) *history { return &history{seen: generations.New[days](limit)} }

// turn brings the history to a time, s.
func (h *history) turn(now uint32) { h.today = max(h.today, uint16(now/day)) }

func (h *history) get(pair uint64) (d days, ok bool) {
	d, ok = h.seen.Get(pair)
	return d, ok && h.today-d.last <= season
}

// know records a success.
func (h *history) know(pair uint64) {
	d, ok := h.get(pair)
	if !ok {
		d.first = h.today
	}
	d.last = h.today
	h.seen.Put(pair, d)
}

// knows reports whether a pair is known: once a whole day lies between its
// first success and now. A stolen account that is tried again does not vouch
// for the thief.
func (h *history) knows(pair uint64) bool {
	d, ok := h.get(pair)
	return ok && d.first+1 < h.today
}

// has reports whether a pair has been seen.
func (h *history) has(pair uint64) bool {
	_, ok := h.get(pair)
	return ok
}

// hasToday reports whether a pair has been seen on this day.
func (h *history) hasToday(pair uint64) bool {
	d, ok := h.get(pair)
	return ok && d.last == h.today
}

// visitors remembers which clients have lately asked for something that is no
// login, as an app does when it starts and a browser before it shows a form.
type visitors struct{ seen *generations.Map[uint32] }

// visit is how long a visit counts, s.
const visit = 1800

func newVisitors(limit int) *visitors { return &visitors{seen: generations.New[uint32](limit)} }

func (v *visitors) add(client uint64, now uint32) {
	if at, ok := v.seen.Get(client); !ok || now >= at+visit/16 {
		v.seen.Put(client, now)
	}
}

func (v *visitors) has(client uint64, now uint32) bool {
	at, ok := v.seen.Get(client)
	return ok && now < at+visit
}
