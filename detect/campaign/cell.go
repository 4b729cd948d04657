package campaign

import (
	"math/bits"
	"net/netip"
	"strings"

	"offpath/detect"
)

// kind is which members of a subject a cell fixes. What a load balancer can
// match, alone and together: an imperfect mimic gives itself away by a
// combination (the app's User-Agent over another program's TLS) where each
// part alone is a customer's.
type kind uint8

const (
	byFingerprint kind = iota
	byUserAgent
	byJA4
	byFingerprintAndUserAgent
	byFingerprintAndJA4
	byUserAgentAndJA4
	byAllThree
	byNetwork // IPv4 /24, IPv6 /48
	byFingerprintThere
	byUserAgentThere
	byJA4There
	byAllThreeThere
	kinds
)

const (
	hasFingerprint = 1 << iota
	hasUserAgent
	hasJA4
	hasNetwork
	hasEndpoint
)

// members is what each kind fixes.
var members = [kinds]uint8{
	byFingerprint: hasFingerprint, byUserAgent: hasUserAgent, byJA4: hasJA4,
	byFingerprintAndUserAgent: hasFingerprint | hasUserAgent,
	byFingerprintAndJA4:       hasFingerprint | hasJA4,
	byUserAgentAndJA4:         hasUserAgent | hasJA4,
	byAllThree:                hasFingerprint | hasUserAgent | hasJA4,
	byNetwork:                 hasNetwork,
	byFingerprintThere:        hasFingerprint | hasEndpoint,
	byUserAgentThere:          hasUserAgent | hasEndpoint,
	byJA4There:                hasJA4 | hasEndpoint,
	byAllThreeThere:           hasFingerprint | hasUserAgent | hasJA4 | hasEndpoint,
}

// cell is the attempts that share the values of a kind.
type cell struct {
	key     uint64 // 0: forgotten
	kind    kind
	at      uint32 // s
	acted   uint32 // when an attempt was last held against it, s
	since   int64  // of the first of the wrong ones below, ns
	windows [len(horizons)]window

	// Over a day: attempts, those that were right (each account once), and those
	// that only a customer makes.
	attempts, right, known, prepared float32

	// Of the wrong ones, one bit a hash: enough to tell one from many.
	accounts, addresses uint64

	values   detect.Subject
	campaign *Campaign // open, that it was convicted for; nil: none
}

// decay brings the cell to a time.
func (c *cell) decay(d *decays, now uint32) {
	if now <= c.at {
		return
	}
	passed := now - c.at
	c.at = now
	for i := range c.windows {
		f := d.factor(i, passed)
		c.windows[i].wrong *= f
		c.windows[i].right *= f
	}
	f := d.factor(len(horizons), passed)
	c.attempts *= f
	c.right *= f
	c.known *= f
	c.prepared *= f
	if c.windows[len(horizons)-1].wrong < 1 {
		c.accounts, c.addresses = 0, 0
	}
}

// several reports whether the wrong attempts are of several accounts from
// several addresses: a matter of one client is for another detector.
func (c *cell) several() bool {
	return bits.OnesCount64(c.accounts) >= minDistinct && bits.OnesCount64(c.addresses) >= minDistinct
}

// fromFew reports whether a program's wrong attempts are of several accounts from
// few addresses: somebody among many behind one, whom a count per address hides.
func (c *cell) fromFew() bool {
	return bits.OnesCount64(c.accounts) >= minDistinct && members[c.kind]&hasNetwork == 0
}

// minDistinct is how many accounts and addresses are several.
const minDistinct = 8

// table holds the cells, bounded: when it is full the hand of a clock looks at
// the next few, and the one with the fewest attempts makes room.
type table struct {
	index     map[uint64]int32
	cells     []*cell
	limit     int
	hand      int
	evictions uint64
}

// looks is how many cells the hand looks at.
const looks = 16

func newTable(limit int) *table { return &table{index: make(map[uint64]int32), limit: limit} }

// get finds a cell or makes it of the attempt's values.
func (t *table) get(key uint64, k kind, a *Attempt) *cell {
	if i, ok := t.index[key]; ok {
		return t.cells[i]
	}
	c := &cell{key: key, kind: k, values: valuesOf(k, a)}
	t.put(c)
	return c
}

// put takes in a cell, in the place of another if it must be.
func (t *table) put(c *cell) {
	if len(t.cells) < t.limit {
		t.index[c.key] = int32(len(t.cells))
		t.cells = append(t.cells, c)
		return
	}
	i := t.victim()
	delete(t.index, t.cells[i].key)
	t.cells[i].key = 0 // whoever still points to it
	t.cells[i] = c
	t.index[c.key] = int32(i)
	t.evictions++
}

func (t *table) victim() int {
	least := -1
	for range looks {
		t.hand = (t.hand + 1) % len(t.cells)
		if least < 0 || worth(t.cells[t.hand]) < worth(t.cells[least]) {
			least = t.hand
		}
	}
	return least
}

// worth is what speaks for remembering a cell.
func worth(c *cell) float32 {
	w := c.attempts + 100*c.known
	if c.campaign != nil {
		w += 1e9
	}
	return w
}

func valuesOf(k kind, a *Attempt) (s detect.Subject) {
	m := members[k]
	if m&hasFingerprint != 0 {
		s.Fingerprint = strings.Clone(a.Fingerprint)
	}
	if m&hasUserAgent != 0 {
		s.UserAgent = strings.Clone(a.UserAgent)
	}
	if m&hasJA4 != 0 {
		s.JA4 = strings.Clone(a.JA4)
	}
	if m&hasNetwork != 0 {
		s.Client = Network(a.Client)
	}
	if m&hasEndpoint != 0 {
		s.Endpoint = strings.Clone(a.Name)
	}
	return s
}

// Network is what of an address the neighbours share: IPv4 /24, IPv6 /48.
func Network(a netip.Addr) netip.Prefix {
	length := 48
	if a.Is4() {
		length = 24
	}
	p, _ := a.Prefix(length)
	return p
}
