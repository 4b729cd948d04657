package engine

import (
	"offpath/detect/campaign"
	"offpath/detect/endpoint"
	"offpath/detect/login"
	"offpath/detect/outcome"
	"offpath/detect/sequential"
	"offpath/reassembly"
)

// place is what is known of one endpoint.
type place struct {
	name     string
	kind     login.Kind     // what its words say
	learned  login.Evidence // what its answers and their use say
	shown    login.Evidence // of the strongest login so far
	rank     uint8          // worth to memory: 0 any, 1 a login, 2 a login that has succeeded
	last     int64          // event time of its last request
	logins   uint64
	closed   bool // it has turned away who brought no session
	model    outcome.Model
	stratum  sequential.Stratum
	campaign campaign.Endpoint
}

// places is the bounded memory of endpoints. When it is full, the hand of a
// clock looks at the next few, and the least worth, or of equals the longest
// unused, makes room: a scan of a million paths does not make a login
// forgotten.
type places struct {
	byName    map[string]*place
	list      []*place
	limit     int
	hand      int
	buf       []byte
	evictions uint64
}

// looks is how many endpoints the hand looks at.
const looks = 8

func newPlaces(limit int) *places {
	return &places{byName: make(map[string]*place), limit: limit}
}

// get finds the endpoint of a request or makes it.
func (p *places) get(tx *reassembly.Transaction) *place {
	r := &tx.Request
	p.buf = endpoint.AppendName(p.buf[:0], r.Method, r.Domain, r.Path, tx.Operation)
	if found, ok := p.byName[string(p.buf)]; ok {
		found.last = tx.End
		return found
	}
	made := &place{name: string(p.buf), kind: kindOf(tx), last: tx.End}
	if len(p.list) < p.limit {
		p.list = append(p.list, made)
	} else {
		i := p.victim()
		delete(p.byName, p.list[i].name)
		p.list[i] = made
		p.evictions++
	}
	p.byName[made.name] = made
	return made
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
	return login.PathKind(tx.Request.Path)
}
