package sequential

import "math/bits"

// guard watches whether an endpoint's application works, by two signs that an
// attacker can hardly make: answers that are none (5xx or missing) and clients
// known to be good who suddenly fail.
type guard struct {
	down    uint32 // the last answers, a bit each, 1: none
	answers uint8  // how many of them have been seen
	vouched [16]vouch
	next    uint8
}

// vouch is how a known-good client fared.
type vouch struct {
	at     uint32
	failed bool
}

const (
	minAnswers  = 8   // answers before the guard judges by them
	minVouched  = 6   // known-good clients before the guard judges by them
	vouchWindow = 600 // s; how long one counts, and how often each may
)

// answer records a login's answer: down if it was none.
func (g *guard) answer(down bool) {
	g.down <<= 1
	if down {
		g.down |= 1
	}
	g.answers = min(g.answers+1, 32)
}

// vouch records how a known-good client fared.
func (g *guard) vouch(now uint32, failed bool) {
	g.vouched[g.next] = vouch{at: now, failed: failed}
	g.next = (g.next + 1) % uint8(len(g.vouched))
}

// outage reports whether half of the last answers, or half of the last
// known-good clients, failed.
func (g *guard) outage(now uint32) bool {
	if g.answers >= minAnswers && 2*bits.OnesCount32(g.down) >= int(g.answers) {
		return true
	}
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
