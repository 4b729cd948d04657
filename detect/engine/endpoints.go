package engine

import (
	"offpath/detect/campaign"
	"offpath/detect/endpoint"
	"offpath/detect/login"
	"offpath/detect/outcome"
	"offpath/detect/sequential"
	"offpath/detect/sitemap"
	"offpath/reassembly"
)

// place is what is known of one endpoint.
type place struct {
	name     string
	kind     login.Kind     // what its words say
	learned  login.Evidence // what its answers and their use say
	shown    login.Evidence // of the strongest login so far
	rank     uint8          // worth to memory: 0 any, 1 a login, 2 a login that has succeeded
	pinned   uint8          // the rank that the learner of endpoints knows
	last     int64          // event time of its last request
	logins   uint64
	closed   bool // it has turned away who brought no session
	model    outcome.Model
	stratum  sequential.Stratum
	campaign campaign.Endpoint
	into     *place // what it turned out to be
	index    int    // in places.list
	policed  *policed
}

// now is the place that a place has turned out to be.
func (p *place) now() *place {
	for p != nil && p.into != nil {
		p = p.into
	}
	return p
}

// places is the bounded memory of endpoints. When it is full, the hand of a
// clock looks at the next few, and the least worth, or of equals the longest
// unused, makes room: a scan of a million paths does not make a login
// forgotten.
type places struct {
	learner   *endpoint.Learner
	byName    map[string]*place
	list      []*place
	limit     int
	hand      int
	evictions uint64
}

// looks is how many endpoints the hand looks at.
const looks = 8

// samples is how many endpoints, or what may turn out to be values of one, are
// learned from for each that is remembered.
const samples = 4

func newPlaces(limit int, seen *sitemap.Map) *places {
	p := &places{byName: make(map[string]*place), limit: limit}
	p.learner = endpoint.New(endpoint.Config{
		Endpoints: samples * limit,
		Reserved:  func(segment string) bool { return login.PathKind(segment) != login.KindNone },
		Merged: func(from, into *endpoint.Endpoint) {
			p.merge(from.Name, into.Name)
			if seen != nil {
				seen.Renamed(from.Name, into.Name)
			}
		},
	})
	return p
}

// get finds the endpoint of a request or makes it. The login that it is known
// to be is pinned to its path.
func (p *places) get(tx *reassembly.Transaction) *place {
	at := p.learner.Locate(tx)
	found, ok := p.byName[at.Name]
	if !ok {
		found = &place{name: at.Name, kind: kindOf(tx)}
		p.add(found)
	}
	found.last = tx.End
	if found.rank > found.pinned {
		found.pinned = found.rank
		p.learner.Pin(at, found.rank == 2)
	}
	return found
}

func (p *places) add(made *place) {
	if len(p.list) < p.limit {
		made.index = len(p.list)
		p.list = append(p.list, made)
	} else {
		i := p.victim()
		delete(p.byName, p.list[i].name)
		p.list[i], made.index = made, i
		p.evictions++
	}
	p.byName[made.name] = made
}

// merge makes one place of two whose endpoints turned out to be one. Of what
// cannot be added up, how logins there end, the better known stays.
func (p *places) merge(from, into string) {
	old := p.byName[from]
	if old == nil {
		return
	}
	delete(p.byName, from)
	other := p.byName[into]
	if other == nil {
		old.name, old.pinned = into, 0
		p.byName[into] = old
		return
	}
	if other.rank > old.rank || other.rank == old.rank && other.logins >= old.logins {
		old, other = other, old
	}
	old.name, old.pinned = into, 0
	old.learned |= other.learned
	if other.shown.Score() > old.shown.Score() {
		old.shown = other.shown
	}
	old.last = max(old.last, other.last)
	old.logins += other.logins
	old.policed = old.policed.merge(other.policed)
	old.closed = old.closed || other.closed
	other.into, other.name = old, ""
	p.byName[into] = old
	last := p.list[len(p.list)-1]
	p.list[other.index], last.index = last, other.index
	p.list[len(p.list)-1] = nil
	p.list = p.list[:len(p.list)-1]
}

func (p *places) victim() int {
	least := -1
	for range looks {
		p.hand = (p.hand + 1) % len(p.list)
		if least < 0 || less(p.list[p.hand], p.list[least]) {
			least = p.hand
		}
	}
	return least
}

func less(a, b *place) bool {
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.last < b.last
}

// kindOf reads the operation where it says something, else the path.
func kindOf(tx *reassembly.Transaction) login.Kind {
	if kind := login.PathKind(tx.Operation); kind != login.KindNone {
		return kind
	}
	if kind := login.PathKind(tx.Request.Path); kind != login.KindNone {
		return kind
	}
	if kind := login.Purpose(tx.Operation); kind != login.KindNone {
		return kind
	}
	return login.Purpose(tx.Request.Path)
}
