package sequential

// guard watches whether an endpoint's application works, by a sign that an
// attacker can hardly make: clients known to be good who suddenly fail, or get
// a server error. Server errors alone are no sign: a request that the
// application chokes on is easily made.
type guard struct {
	vouched [16]vouch
	next    uint8
}

// vouch is how a known-good client fared.
type vouch struct {
	at     uint32
	failed bool
}

const (
	minVouched  = 6   // known-good clients before the guard judges by them
	vouchWindow = 600 // s; how long one counts, and how often each may
)

// vouch records how a known-good client fared.
func (g *guard) vouch(now uint32, failed bool) {
	g.vouched[g.next] = vouch{at: now, failed: failed}
	g.next = (g.next + 1) % uint8(len(g.vouched))
}

// outage reports whether half of the last known-good clients failed.
func (g *guard) outage(now uint32) bool {
	seen, failed := 0, 0
	for _, v := range g.vouched {
		if v.at == 0 || now > v.at+vouchWindow {
			continue
		}
		seen++
		if v.failed {
			failed++
		}
	}
	return seen >= minVouched && 2*failed >= seen
}
