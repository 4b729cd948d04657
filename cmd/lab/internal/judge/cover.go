package judge

import (
	"net/netip"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/reassembly"
)

// statement is that a finding or verdict says something about a subject for a
// time.
type statement struct {
	id          string
	made        int64 // when it was said first
	from, until int64 // of what it is said
	convicted   bool  // it covers a login of the attacker's
	campaign    bool  // and it is about a campaign that has no subject
}

// record is a login, kept until everything has been said. It holds no pointer, so
// that millions cost the garbage collector nothing.
type record struct {
	start, end  int64
	user, event uint64   // hashes
	client      [16]byte // as in netip.Addr.As16
	looks       uint32   // index into cover.looks
	truth       truthBits
}

// hashOf is FNV-1a, 64 bits (RFC 9923).
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

type truthBits uint8

const (
	isAttack truthBits = 1 << iota
	isRight
	isStopped
)

// maxRecords bounds the logins that are kept; later ones do not take part in the
// recall of detection.
const maxRecords = 4 << 20

// cover finds out, at the end, which logins findings and verdicts were about.
type cover struct {
	index      index[*statement]
	byID       map[string]*statement
	subjects   map[string]detect.Subject
	events     map[uint64]*statement // named as evidence, by the hash of their id
	statements []*statement
	campaigns  map[string]*statement // the first line about each, by its id
	held       map[uint64]bool       // accounts that verdicts name, by the hash of theirs
	outages    map[string]bool       // ids of findings that say so
	findings   int
	messages   []string

	looks   []looks
	lookAt  map[looks]uint32
	records []record
	dropped int
}

func newCover() *cover {
	return &cover{
		byID: make(map[string]*statement), subjects: make(map[string]detect.Subject), events: make(map[uint64]*statement),
		campaigns: make(map[string]*statement), outages: make(map[string]bool), held: make(map[uint64]bool), lookAt: make(map[looks]uint32),
	}
}

// maxMessages is how many messages are kept, for who reads the table.
const maxMessages = 12

func (c *cover) finding(f *detect.Finding) {
	if isOutage(f) {
		c.outages[f.ID] = true
		return
	}
	if c.byID[f.ID] == nil {
		c.findings++
	}
	s := c.say(f.ID, f.Subject, f.Time, min(f.WindowStart, f.Time), max(f.WindowEnd, f.Time))
	for _, id := range f.Evidence.Events {
		if h := hashOf(id); c.events[h] == nil {
			c.events[h] = s
		}
	}
	if f.Campaign != nil && c.campaigns[f.Campaign.ID] == nil {
		c.campaigns[f.Campaign.ID] = s
		s.campaign = f.Subject == detect.Subject{}
	}
}

func (c *cover) verdict(v *detect.Verdict) {
	if v.Action == detect.ActionLift {
		if s := c.byID[v.ID]; s != nil {
			s.until = min(s.until, v.Time)
		}
		return
	}
	user := hashOf(v.Subject.UserHash)
	if c.byID[v.ID] == nil && !c.held[user] && len(c.messages) < maxMessages {
		c.messages = append(c.messages, v.Message)
	}
	if v.Subject.UserHash != "" {
		c.held[user] = true
		return
	}
	c.say(v.ID, v.Subject, v.Time, v.Time, v.Expires)
}

func (c *cover) say(id string, subject detect.Subject, made, from, until int64) *statement {
	if s := c.byID[id]; s != nil && c.subjects[id] == subject {
		s.from, s.until = min(s.from, from), max(s.until, until)
		return s
	}
	s := &statement{id: id, made: made, from: from, until: until}
	c.byID[id], c.subjects[id] = s, subject
	c.statements = append(c.statements, s)
	c.index.add(subject, s)
	return s
}

func (c *cover) login(tx *reassembly.Transaction, truth traffic.Truth, stopped bool) {
	if len(c.records) >= maxRecords {
		c.dropped++
		return
	}
	f := featuresOf(tx)
	at, known := c.lookAt[f.looks]
	if !known {
		at = uint32(len(c.looks))
		c.looks = append(c.looks, f.looks)
		c.lookAt[f.looks] = at
	}
	r := record{start: tx.Start, end: tx.End, user: hashOf(f.user), event: hashOf(tx.ID), client: f.client.As16(), looks: at}
	set := func(bit truthBits, is bool) {
		if is {
			r.truth |= bit
		}
	}
	set(isAttack, truth.Attack)
	set(isRight, truth.Right)
	set(isStopped, stopped)
	c.records = append(c.records, r)
}

// covered is what the pass over the records has found.
type covered struct {
	attack, attackCovered int
	honest, honestCovered int
	hits, hitsNamed       int // accounts come into
	held                  int // accounts named that nobody but their owner came into
}

// compare goes over all logins with all that was said.
func (c *cover) compare(onset int64, enforced bool) covered {
	var sum covered
	hit := make(map[uint64]bool)
	for i := range c.records {
		r := &c.records[i]
		f := features{client: netip.AddrFrom16(r.client).Unmap(), looks: c.looks[r.looks]}
		found, named := false, false
		c.index.each(&f, func(s *statement) bool {
			if r.end < s.from || r.end > s.until {
				return false
			}
			found = true
			if r.truth&isAttack != 0 {
				s.convicted = true
			}
			return false
		})
		if s := c.events[r.event]; s != nil {
			found, named = true, true
			if r.truth&isAttack != 0 {
				s.convicted = true
			}
		}
		named = named || c.held[r.user]
		switch {
		case r.truth&isAttack != 0:
			sum.attack++
			if found {
				sum.attackCovered++
			}
			if r.truth&isRight != 0 && !(enforced && r.truth&isStopped != 0) {
				hit[r.user] = hit[r.user] || named
			}
		case r.start >= onset || found:
			sum.honest++
			if found {
				sum.honestCovered++
			}
		}
	}
	for _, named := range hit {
		sum.hits++
		if named {
			sum.hitsNamed++
		}
	}
	for user := range c.held {
		if _, is := hit[user]; !is {
			sum.held++
		}
	}
	return sum
}
