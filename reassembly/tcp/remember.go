package tcp

// remnant is what is remembered of a closed flow for a while, so that stragglers
// don't look like a new one.
type remnant struct {
	key    key
	closed int64 // clock
	half   [2]struct {
		next, isn uint32
		flags     halfFlags
	}
	newISN    uint32 // if stateRenewing
	renewSide Direction
	state     flowState
	gone      bool // no longer remembered
}

// flow returns the flow as far as it is remembered.
func (r *remnant) flow(o *doubt) (f Flow) {
	f.state = r.state
	for d, h := range r.half {
		f.half[d].next, f.half[d].isn, f.half[d].flags = h.next, h.isn, h.flags
	}
	o.newISN, o.renewSide = r.newISN, r.renewSide
	f.doubt = o
	return f
}

// remembered is a queue of remnants in a ring, in the order in which they were
// closed, which is that in which they are forgotten. Its first one is not gone.
type remembered struct {
	ring       []remnant // a power of two of them, or none
	head, tail uint32    // places of the first one and after the last one
}

func (q *remembered) get(at uint32) *remnant { return &q.ring[at&uint32(len(q.ring)-1)] }

// oldest returns the first one; nil if there is none.
func (q *remembered) oldest() *remnant {
	if q.head == q.tail {
		return nil
	}
	return q.get(q.head)
}

// push takes in a flow that is closed, and returns its place.
func (q *remembered) push(f *Flow, clock int64) (at uint32) {
	if int(q.tail-q.head) == len(q.ring) {
		larger := remembered{ring: make([]remnant, max(8, 2*len(q.ring)))}
		for at := q.head; at != q.tail; at++ {
			*larger.get(at) = *q.get(at)
		}
		q.ring = larger.ring
	}
	at = q.tail
	q.tail++
	r := q.get(at)
	*r = remnant{key: f.key, closed: clock, state: f.state}
	for d := range f.half {
		h := &f.half[d]
		r.half[d].next, r.half[d].isn, r.half[d].flags = h.next, h.isn, h.flags
	}
	if f.state&stateRenewing != 0 {
		r.newISN, r.renewSide = f.doubt.newISN, f.doubt.renewSide
	}
	return at
}

// trim lets go of those at the front that are gone, and of the ring with the last
// one, unless it is small.
func (q *remembered) trim() {
	for q.head != q.tail && q.get(q.head).gone {
		q.head++
	}
	if q.head == q.tail && len(q.ring) > 64 {
		q.ring = nil
	}
}
