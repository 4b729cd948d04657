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

// sight is what a history says of a pair.
type sight struct {
	seen  bool // ever
	known bool // a whole day lies between its first success and now: a stolen account that is tried again does not vouch for the thief
	today bool // on this day
}

func (h *history) get(pair uint64) sight {
	if d := h.seen.Find(pair); d != nil {
		return h.sight(*d)
	}
	return sight{}
}

// peek is get that remembers the pair no longer for it.
func (h *history) peek(pair uint64) sight {
	if d, ok := h.seen.Peek(pair); ok {
		return h.sight(d)
	}
	return sight{}
}

func (h *history) sight(d days) sight {
	if h.today-d.last > season {
		return sight{}
	}
	return sight{seen: true, known: d.first+1 < h.today, today: d.last == h.today}
}

// know records that a pair is seen, and says what it was before.
func (h *history) know(pair uint64) (before sight) {
	d, known := h.seen.At(pair)
	if !known {
		*d = days{h.today, h.today}
		return sight{}
	}
	if before = h.sight(*d); !before.seen {
		d.first = h.today
	}
	d.last = h.today
	return before
}

// visitors remembers which clients have lately asked for something that is no
// login, as an app does when it starts and a browser before it shows a form.
type visitors struct{ seen *generations.Map[uint32] }

// visit is how long a visit counts, s.
const visit = 1800

func newVisitors(limit int) *visitors { return &visitors{seen: generations.New[uint32](limit)} }

func (v *visitors) add(client uint64, now uint32) {
	at, _ := v.seen.At(client)
	*at = now
}

func (v *visitors) has(client uint64, now uint32) bool {
	at, ok := v.seen.Get(client)
	return ok && now < at+visit
}
