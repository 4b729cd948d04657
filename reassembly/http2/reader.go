package http2

import (
	"encoding/binary"

	"offpath/reassembly"
	"offpath/reassembly/internal/buffer"
	"offpath/reassembly/message"
)

// Budget is where the octets that connections keep are charged.
type Budget interface {
	Take(octets int) bool // false: there are not as many
	Give(octets int)      // takes back what was taken
}

// Input is what is left of a segment. Conn.Read takes from its front.
type Input struct {
	Data   []byte
	Time   int64 // capture time, ns since the epoch
	Inside bool  // Data does not begin where the segment did
}

func (in *Input) skip(n int) {
	if n > 0 {
		in.Data = in.Data[n:]
		in.Inside = true
	}
}

// Event is what Conn.Read found.
type Event uint8

// The events.
const (
	More   Event = iota // the input is used up
	Head                // a head: Reader.Head is set
	End                 // the end of a message: Reader.Head, Reader.Body and Reader.Trailers are set
	Tunnel              // octets of a tunnel: Reader.Data, or Reader.Missing of them
	Closed              // the stream has ended: Reader.Reason is set
	Lost                // what this side says is not HTTP/2; it is skipped from now on
)

// Reason says why a stream was closed.
type Reason uint8

// The reasons.
const (
	ReasonEnded      Reason = iota // both sides have ended it
	ReasonReset                    // Reader.Side has reset it; Reader.Code says why
	ReasonGoAway                   // the server has announced that it won't answer
	ReasonConnection               // the connection has ended
	ReasonEvicted                  // there were too many streams, or no room for one more
	ReasonExpired                  // nothing was heard of it for too long
)

// Message is what is known of a request or response beside its octets.
type Message struct {
	First int64 // capture time of its first octet, ns since the epoch
	Last  int64 // of the last one so far
	Bytes int64 // octets of its content so far, missing ones included
	Gap   int64 // octets that are missing, where the message is known
	Early int64 // octets that came before the 2xx that made the stream a tunnel, of which no Tunnel event told

	Unknown   int // fields of head and trailers that are not known
	Anomalies reassembly.Anomalies
	Broken    bool // its end was not seen, or may not be the end of all that it said
	RPC       RPC
}

// RPC is what a message of gRPC over HTTP/2 says.
type RPC struct {
	Is       bool // the content type is gRPC's
	Partial  bool // there may be more messages than were counted
	Messages int  // length-prefixed messages begun
	Status   int  // grpc-status of the trailers, or of a head without content; reassembly.Unknown if there is none
}

// Reader is what the connections of one worker share. It is not for concurrent
// use.
type Reader struct {
	// The last event.
	Stream   *Stream         // Head, End, Tunnel, Closed; valid until the next call after Closed
	Side     Side            // whose message, or who has reset the stream
	Message  *Message        // Head, End: what is known of it
	Head     message.Head    // Head, End
	Body     message.Body    // End
	Trailers []message.Field // End
	Data     []byte          // Tunnel
	Missing  int64           // Tunnel: octets missing before what comes next
	Reason   Reason          // Closed
	Code     uint32          // Closed by reset: the error code (RFC 9113 section 7)

	// Stats are the books of all connections of the Reader.
	Stats Stats

	bodyLimit int
	shapes    *message.Shapes
	section   section // the header block at hand
	decoder   decoder
	kept      [MaxFields]message.Field // of a head that was kept
	peeked    [MaxFields]message.Field
	buffers   buffer.Pool
	streams   []*Stream // closed ones, to be used again
}

// NewReader returns a Reader whose connections keep bodyLimit octets of each body
// and whose heads have their shapes in a table; nil makes one.
func NewReader(bodyLimit int, shapes *message.Shapes) *Reader {
	if shapes == nil {
		shapes = message.NewShapes(nil)
	}
	return &Reader{bodyLimit: bodyLimit, shapes: shapes, decoder: decoder{octets: make([]byte, 0, 4096)}}
}

// Stats are the books of a Reader's connections. All only grow.
//
// Octets balance: those read = Octets + SkippedOctets.
type Stats struct {
	Octets        uint64 // octets of frames and prefaces
	SkippedOctets uint64 // octets that belong to no frame
	Frames        uint64 // frame headers
	FrameErrors   uint64 // frames that RFC 9113 does not allow
	StrayFrames   uint64 // DATA and HEADERS of streams that are closed, or never were

	Requests      uint64 // heads of requests read, pushed ones included
	Pushed        uint64 // of these, pushed
	Responses     uint64 // heads of final responses read
	Informational uint64 // heads of interim responses read
	Broken        uint64 // messages whose end was not seen
	HeadsLost     uint64 // messages without head, because its header block was lost

	FieldsUnknown uint64 // fields left out because the compression table was not known
	TablesLost    uint64 // times that a compression table was lost
	LostSync      uint64 // times that frame boundaries were lost
	Resyncs       uint64 // times that they were found again

	StreamsOpened   uint64
	StreamsClosed   uint64
	StreamsEvicted  uint64 // of the closed: because there were too many, or no room for one more
	StreamsExpired  uint64 // of the closed: because nothing was heard of them
	BudgetAbandoned uint64 // header blocks given up because there was no room to keep them
	BudgetCut       uint64 // bodies whose prefix was cut short for that reason
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.Octets += o.Octets
	s.SkippedOctets += o.SkippedOctets
	s.Frames += o.Frames
	s.FrameErrors += o.FrameErrors
	s.StrayFrames += o.StrayFrames
	s.Requests += o.Requests
	s.Pushed += o.Pushed
	s.Responses += o.Responses
	s.Informational += o.Informational
	s.Broken += o.Broken
	s.HeadsLost += o.HeadsLost
	s.FieldsUnknown += o.FieldsUnknown
	s.TablesLost += o.TablesLost
	s.LostSync += o.LostSync
	s.Resyncs += o.Resyncs
	s.StreamsOpened += o.StreamsOpened
	s.StreamsClosed += o.StreamsClosed
	s.StreamsEvicted += o.StreamsEvicted
	s.StreamsExpired += o.StreamsExpired
	s.BudgetAbandoned += o.BudgetAbandoned
	s.BudgetCut += o.BudgetCut
}

// maxSpare is how many closed streams are kept to be used again.
const maxSpare = 64

// release gives a buffer back; nil is none.
func (r *Reader) release(b Budget, buf *[]byte) {
	r.buffers.Release(b, *buf)
	*buf = nil
}

// keep appends octets to a buffer, or says that there is no room for them.
func (r *Reader) keep(b Budget, buf *[]byte, octets []byte) (ok bool) {
	*buf, ok = r.buffers.Append(b, *buf, octets)
	return ok
}

// Layout of a head that is kept: status, then which fields hold method and
// target, counted from 1, 0 for none; then for each field the lengths of name and
// value, and both.
const (
	keptHead  = 6
	keptField = 8
)

// keepHead copies the head that was just decoded; nil if there is no room for it.
func (r *Reader) keepHead(b Budget) []byte {
	s := &r.section
	k, ok := r.buffers.Grow(b, nil, keptHead+keptField*len(s.fields)+s.octets)
	if !ok {
		return nil
	}
	order := binary.LittleEndian
	k = order.AppendUint16(k, uint16(s.status))
	k = order.AppendUint16(k, uint16(s.method))
	k = order.AppendUint16(k, uint16(s.target))
	for _, f := range s.fields {
		k = order.AppendUint32(k, uint32(len(f.Name)))
		k = order.AppendUint32(k, uint32(len(f.Value)))
		k = append(append(k, f.Name...), f.Value...)
	}
	return k
}

// nextKept takes the next field of a head that was kept.
func nextKept(k []byte) (name, value, rest []byte) {
	n, v := binary.LittleEndian.Uint32(k), binary.LittleEndian.Uint32(k[4:])
	name, k = k[keptField:keptField+n:keptField+n], k[keptField+n:]
	return name, k[:v:v], k[v:]
}

// loadHead makes the head again, of views into the buffer.
func loadHead(k []byte, array *[MaxFields]message.Field, shape *message.Shape) message.Head {
	order := binary.LittleEndian
	h := message.Head{Version: "2", Status: int(order.Uint16(k)), Fields: array[:0], Shape: shape}
	for rest := k[keptHead:]; len(rest) > 0; {
		var f message.Field
		f.Name, f.Value, rest = nextKept(rest)
		h.Fields = append(h.Fields, f)
	}
	if i := order.Uint16(k[2:]); i > 0 {
		h.Method = h.Fields[i-1].Value
	}
	if i := order.Uint16(k[4:]); i > 0 {
		h.Target = h.Fields[i-1].Value
	}
	return h
}
