package tls

import (
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/internal/protection"
)

// heldRecord is a record that waits, or one that found no room to. Its octets
// stand in held.octets.
type heldRecord struct {
	start   tcp.Position
	arrival uint32
	length  uint16 // of its body
	version uint16
	kind    uint8
	lost    bool // without octets
}

const (
	// heldOverhead is what a record that is held takes beside its octets.
	heldOverhead = 40
	// maxHeld is how many records a direction may hold.
	maxHeld = 4096
)

// held are the records of a direction that wait.
type held struct {
	records []heldRecord
	octets  []byte
	first   int // record
	from    int // octet
	size    int // of the records with their octets
}

func (q *held) any() bool { return q.first < len(q.records) }

func (q *held) drop(r *Reader, b Budget) {
	r.Stats.Held -= uint64(q.size)
	r.release(b, &q.octets)
	b.Give(heldOverhead * cap(q.records))
	*q = held{}
}

// room makes room for one more record, or says that there is none.
func (q *held) room(b Budget) bool {
	n := len(q.records)
	if n < cap(q.records) {
		return true
	}
	larger := max(8, 2*n)
	if !b.Take(heldOverhead * (larger - n)) {
		return false
	}
	q.records = append(make([]heldRecord, 0, larger), q.records...)
	return true
}

// hold keeps a record until it can be processed, or gives up if that will never
// be.
func (c *Conn) hold(r *Reader, b Budget, i int, rec *record) {
	switch {
	case c.status >= Opaque:
		return
	case c.doomed != ReasonNone:
		c.opaque(r, b, c.doomed)
		return
	case !r.learns():
		c.opaque(r, b, ReasonNoSecret)
		return
	case (r.config.Complete || r.config.Secrets == nil) && c.version != 0 && c.hs != nil && c.hs.haveClient && !c.waitsForPeer(i):
		c.giveUp(r, b, i, ReasonNoSecret)
		return
	}
	if c.since == 0 {
		c.since = max(rec.start.Time, 1)
	}
	q := &c.half[i].held
	size := len(rec.Body) + heldOverhead
	total := c.half[fromClient].held.size + c.half[fromServer].held.size
	if len(q.records) >= maxHeld || total+size > r.config.Hold || !q.room(b) || !r.keep(b, &q.octets, rec.Body) {
		r.Stats.HoldLost++
		c.holdLost(r, b, i, rec.Type, len(rec.Body))
		return
	}
	q.size += size
	r.Stats.Held += uint64(size)
	c.queue(q, heldRecord{start: rec.start, length: uint16(len(rec.Body)), version: rec.Version, kind: rec.Type})
}

// waitsForPeer reports whether a direction waits for what the other one says,
// not for a secret.
func (c *Conn) waitsForPeer(i int) bool {
	hs, server := c.hs, &c.half[fromServer]
	if c.version == hello.VersionTLS13 {
		return i == fromClient && hs.early == earlyOffered
	}
	if !hs.suite.RSA || hs.tried || hs.noKey || server.changed && !hs.helloDone {
		return false // the last: the server resumes a session
	}
	return !hs.exchanged || hs.extended && !hs.helloDone
}

// holdLost notes that a record is missing among those that wait.
func (c *Conn) holdLost(r *Reader, b Budget, i int, kind uint8, length int) {
	q := &c.half[i].held
	if len(q.records) >= 2*maxHeld || !q.room(b) {
		c.giveUp(r, b, i, ReasonBudget)
		return
	}
	c.queue(q, heldRecord{length: uint16(length), kind: kind, lost: true})
}

func (c *Conn) queue(q *held, rec heldRecord) {
	c.arrivals++
	rec.arrival = c.arrivals
	q.records = append(q.records, rec)
	c.status = Waiting
}

// retry processes what waits, if secrets have come since; and gives up what has
// waited too long.
func (c *Conn) retry(r *Reader, b Budget, now int64, out Consumer) {
	if r.config.Secrets != nil && r.config.Secrets.Generation() != c.asked {
		c.progress = true
	}
	c.settle(r, b, out)
	if c.status != Waiting || now-c.since <= int64(r.config.Wait) {
		return
	}
	for i := range c.half {
		if c.half[i].held.any() {
			c.giveUp(r, b, i, ReasonNoSecret)
		}
	}
	c.settle(r, b, out)
}

// drain processes what waits, in the order in which the peers said it, until
// neither direction can go on.
func (c *Conn) drain(r *Reader, b Budget, out Consumer) {
	for c.progress && c.status < Opaque {
		c.progress = false
		if r.config.Secrets != nil {
			c.asked = r.config.Secrets.Generation()
		}
		var stuck [2]bool
		for {
			i, ok := c.foremost(stuck)
			if !ok {
				break
			}
			if c.release(r, b, i, out) {
				stuck = [2]bool{}
			} else {
				stuck[i] = true
			}
		}
	}
	for i := range c.half {
		if q := &c.half[i].held; !q.any() {
			q.drop(r, b)
		}
	}
	if !c.half[fromClient].held.any() && !c.half[fromServer].held.any() {
		c.since = 0
	}
}

// foremost is the direction whose next record comes first: the one that the other
// acknowledges, else the one that was seen first.
func (c *Conn) foremost(stuck [2]bool) (i int, ok bool) {
	var next [2]*heldRecord
	for i := range c.half {
		if q := &c.half[i].held; q.any() && !stuck[i] {
			next[i] = &q.records[q.first]
		}
	}
	client, server := next[fromClient], next[fromServer]
	switch {
	case client == nil && server == nil:
		return 0, false
	case server == nil:
		return fromClient, true
	case client == nil:
		return fromServer, true
	case client.lost || server.lost:
	case server.start.HasAck && int32(server.start.Ack-client.start.Seq) > 0:
		return fromClient, true
	case client.start.HasAck && int32(client.start.Ack-server.start.Seq) > 0:
		return fromServer, true
	}
	if client.arrival < server.arrival {
		return fromClient, true
	}
	return fromServer, true
}

// release processes the first record that a direction holds, and reports whether
// it could.
func (c *Conn) release(r *Reader, b Budget, i int, out Consumer) bool {
	h := &c.half[i]
	q := &h.held
	entry := q.records[q.first]
	if entry.lost {
		if !c.ready(r, i) {
			return false
		}
		q.first++
		c.recordLost(r, b, i, entry.kind, int(entry.length), out)
		return true
	}
	rec := record{start: entry.start, last: true, Record: protection.Record{
		Type: entry.kind, Version: entry.version, Body: q.octets[q.from : q.from+int(entry.length)],
	}}
	if !c.process(r, b, i, &rec, out) {
		return false
	}
	q.first++
	q.from += int(entry.length)
	return true
}
