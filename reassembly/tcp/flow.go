package tcp

import (
	"net/netip"

	"offpath/capture"
)

// Flow is one connection.
type Flow struct {
	// Conn is the consumer's; nil until the consumer sets it, and after Close.
	Conn any

	key     key
	packets uint32
	client  int8 // direction of the client, -1 unknown
	state   flowState
	in      listID
	half    [2]half // by direction

	// Order of idleness; see list.
	listed       int64 // clock at which the flow took its place
	older, newer *Flow

	// Timer; see timers.
	due      int64
	timer    int32  // place in the heap, -1 outside
	serial   uint32 // counts the flows of the table
	deadline int64  // the consumer's, 0 without

	doubt    *doubt // if stateResetting or stateRenewing
	wrapping capture.Wrapping
}

// side returns the half of a direction.
func (f *Flow) side(d Direction) *half { return &f.half[d&1] }

// doubt is what casts doubt on a flow's going on.
type doubt struct {
	resetDue  int64 // if stateResetting
	resetSeq  uint32
	resetSide Direction
	renewSide Direction // if stateRenewing
	newISN    uint32    // of the SYN
}

// doubted returns the flow's doubt, made if there was none.
func (f *Flow) doubted() *doubt {
	if f.doubt == nil {
		f.doubt = new(doubt)
	}
	return f.doubt
}

type flowState uint8

const (
	stateMidstream flowState = 1 << iota // no SYN of either side was seen
	stateData                            // a consumer knows of it
	stateIgnored                         // nobody reads it
	stateClosed                          // remembered only
	stateResetting                       // an RST lies idle
	stateRenewing                        // a SYN with another number came
)

// half is one direction of a flow.
type half struct {
	next  uint32 // sequence number of the next octet to hand on, if halfStarted
	acked uint32 // highest number that the other side acknowledged, if halfAcked
	mark  uint32 // acked as it was when the hold began
	fin   uint32 // sequence number of the FIN, if halfFIN
	isn   uint32 // initial sequence number, if halfSYN

	sincePackets uint32 // Flow.packets when the hold began
	since        int64  // clock when the hold began
	wait         *tree  // what waits; nil if nothing does
	flags        halfFlags
	hold         hold
	recentAt     uint8
	recent       [2]digest // of the last segments handed on
}

type halfFlags uint8

const (
	halfSeen    halfFlags = 1 << iota // a packet came
	halfSYN                           // isn is known, from its SYN or from what answers it
	halfStarted                       // next is known
	halfAcked                         // acked is known
	halfFIN                           // its FIN came
	halfEnded                         // and everything before it was handed on
	halfRefused                       // the consumer refused what is next
)

// hold is what a direction waits for.
type hold uint8

const (
	holdNone   hold = iota
	holdStart       // for earlier octets of a connection joined in the middle
	holdAcked       // for octets that were acknowledged
	holdOneWay      // for octets that nobody could acknowledge
	holdTurn        // for the other direction
)

// digest recognises a segment that is sent again.
type digest struct {
	seq, n uint32
	sum    uint32
}

// after returns how far a lies after b in sequence space (RFC 9293 section
// 3.4): negative if before.
func after(a, b uint32) int32 { return int32(a - b) }

// Client returns the direction in which the client sends; ok is false while
// that is not known.
func (f *Flow) Client() (d Direction, ok bool) { return Direction(f.client & 1), f.client >= 0 }

// SetClient says in which direction the client sends, learnt from content.
func (f *Flow) SetClient(d Direction) { f.client = int8(d) }

// Endpoint returns the address and port that send in direction d.
func (f *Flow) Endpoint(d Direction) netip.AddrPort {
	addr, port := f.key.endpoint(d)
	if f.key.version() == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr[12:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(addr), port)
}

// Midstream reports whether the flow was joined after its start.
func (f *Flow) Midstream() bool { return f.state&stateMidstream != 0 }

// Synchronised reports whether the first octet handed on in direction d is, or
// will be, the first that was sent.
func (f *Flow) Synchronised(d Direction) bool { return f.side(d).flags&halfSYN != 0 }

// Seen reports whether any packet of direction d was seen.
func (f *Flow) Seen(d Direction) bool { return f.side(d).flags&halfSeen != 0 }

// Behind reports whether octets of direction d below the number ack are still
// to come: handed on or declared missing later. Where the direction is not on the
// mirror, as far as oneWayPackets packets of the other show, none are.
func (f *Flow) Behind(d Direction, ack uint32) bool {
	h := f.side(d)
	switch {
	case h.flags&halfEnded != 0, h.flags&halfSeen == 0 && f.packets > oneWayPackets:
		return false
	case h.flags&halfStarted == 0:
		return h.wait != nil
	}
	return after(ack, h.next) > 0
}

// oneWayPackets is how many packets of one direction come before the other is
// taken to be missing.
const oneWayPackets = 32

// Wrapping is what stood around the flow's first packet.
func (f *Flow) Wrapping() *capture.Wrapping { return &f.wrapping }

// SetDeadline asks for a call of Consumer.Timeout at an event time after now;
// 0 takes it back.
func (f *Flow) SetDeadline(at int64) { f.deadline = at }

// Ignore says that nobody reads the flow: its octets are counted and dropped
// from now on, and the consumer hears no more of it but Close.
func (f *Flow) Ignore() { f.state |= stateIgnored }

// Ignored reports whether Ignore was called.
func (f *Flow) Ignored() bool { return f.state&stateIgnored != 0 }
