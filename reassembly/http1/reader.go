package http1

import (
	"offpath/reassembly/message"
)

// Budget is where the octets that unfinished messages keep are charged.
type Budget interface {
	Take(octets int) bool // false: there are not as many
	Give(octets int)      // takes back what was taken
}

// Reader is what the parsers of one worker share. It is not for concurrent
// use.
type Reader struct {
	// Head and Body are the message of the last event, as views.
	Head message.Head
	Body message.Body

	// Stats are the books of all parsers of the Reader.
	Stats Stats

	bodyLimit int
	keep      int    // octets kept of the body of the message at hand
	framing          // of Head
	raw       []byte // Head's octets
	fields    [MaxFields]message.Field
	fold      []byte // values of folded fields, joined
	shapes    *message.Shapes
	known     []known           // by the slot of the shape
	recent    [2]*message.Shape // of the last head that had one: of a request, of a response
	spare     []*partial
}

// Stats are the books of a Reader's parsers. All only grow.
type Stats struct {
	Requests        uint64 // heads of requests read
	Responses       uint64 // heads of responses read
	Broken          uint64 // messages whose end was not seen
	HeadsLost       uint64 // messages begun whose head was not seen to its end
	LostSync        uint64 // times that octets were no message
	Resyncs         uint64 // times that a message was found again after that
	SkippedOctets   uint64 // octets that belong to no message, or to a head beyond what is kept of it
	BudgetAbandoned uint64 // heads given up because there was no room to keep them
	BudgetCut       uint64 // bodies whose prefix was cut short for that reason
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.Requests += o.Requests
	s.Responses += o.Responses
	s.Broken += o.Broken
	s.HeadsLost += o.HeadsLost
	s.LostSync += o.LostSync
	s.Resyncs += o.Resyncs
	s.SkippedOctets += o.SkippedOctets
	s.BudgetAbandoned += o.BudgetAbandoned
	s.BudgetCut += o.BudgetCut
}

// Upgrade reports whether Head asks for another protocol.
func (r *Reader) Upgrade() bool { return r.upgrade }

// Shapes returns the table of the heads' shapes, for readers beside this one whose
// heads go to the same place.
func (r *Reader) Shapes() *message.Shapes { return r.shapes }

// Preface reports whether Head is that of the client's preface of HTTP/2: no request.
func (r *Reader) Preface() bool { return string(r.raw) == Preface }

// NewReader returns a Reader whose parsers keep bodyLimit octets of each body.
func NewReader(bodyLimit int) *Reader {
	return &Reader{bodyLimit: bodyLimit, shapes: message.NewShapes(framingKind), known: make([]known, message.ShapeSlots)}
}

// partial is what is kept of a message that spans segments.
type partial struct {
	head   []byte // the whole head, or as much as came
	line   int    // where the last line of an incomplete head begins
	body   []byte // prefix of the body
	rest   []byte // incomplete line, beside those of head
	limit  int    // octets kept of the body
	charge int    // octets charged to the budget
	capped bool   // no more of the body is kept

	long    bool    // the request line in head is cut
	framing framing // of a head that is too large, as far as it was read
	field   []byte  // line of its rest that decides framing and may go on in the next

	sought    bool // head is no head but a line in which a request may begin
	turned    bool // the other side has said something since it began
	firstTurn int  // where in it, if turned
	lastTurn  int
}

// Bounds of the spare buffers.
const (
	maxSpare      = 64
	maxSpareBytes = 64 << 10
)

func (r *Reader) newPartial() *partial {
	if n := len(r.spare); n > 0 {
		k := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return k
	}
	return new(partial)
}

func (r *Reader) release(k *partial, b Budget) {
	b.Give(k.charge)
	if len(r.spare) < maxSpare && cap(k.head)+cap(k.body)+cap(k.rest)+cap(k.field) <= maxSpareBytes {
		*k = partial{head: k.head[:0], body: k.body[:0], rest: k.rest[:0], field: k.field[:0]}
		r.spare = append(r.spare, k)
	}
}

// take charges octets that are to be kept beside those that are. What was charged
// for others that were dropped since is used first.
func (k *partial) take(b Budget, octets int) bool {
	octets += len(k.head) + len(k.body) + len(k.rest) + len(k.field) - k.charge
	if octets <= 0 {
		return true
	}
	if !b.Take(octets) {
		return false
	}
	k.charge += octets
	return true
}
