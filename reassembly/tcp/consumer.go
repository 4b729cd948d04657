package tcp

// Direction is one of the two directions of a flow. Which one is the client's
// is known from the handshake, or told by the consumer; see [Flow.Client].
type Direction uint8

// Other is the opposite direction.
func (d Direction) Other() Direction { return d ^ 1 }

// Segment is a run of octets that is next in its direction.
type Segment struct {
	Data     []byte // never empty; valid until the Consumer returns
	Position        // of Data[0]
	Last     bool   // the consumer has to take all of it
	Unread   bool   // set by the consumer: whatever the octets are, it would make no difference
}

// Position is a place in a stream, and when it was seen.
type Position struct {
	Time   int64  // capture time of the packet, ns since the epoch
	Seq    uint32 // sequence number
	Ack    uint32 // acknowledgement number that came with it, if HasAck
	HasAck bool
}

// Cause says why octets are missing.
type Cause uint8

// The causes.
const (
	CauseLost Cause = iota // not in the capture
	CauseCut               // cut off by the snap length
)

// Reason says why a flow was closed.
type Reason uint8

// The reasons.
const (
	ReasonFIN        Reason = iota // both directions ended
	ReasonReset                    // RST
	ReasonReplaced                 // its addresses and ports serve a new connection
	ReasonExpired                  // no packet for too long
	ReasonEvicted                  // the table was full
	ReasonEndOfInput               // the capture ended

	// Reasons is their number.
	Reasons int = iota
)

var reasonNames = [...]string{"fin", "reset", "replaced", "expired", "evicted", "end_of_input"}

// String returns the name used in metrics.
func (r Reason) String() string { return reasonNames[r] }

// Consumer takes what the flows of a Table say. It may call the Flow's methods,
// not the Table's.
type Consumer interface {
	// Data hands on octets and returns how many were taken. If fewer than all,
	// the rest is kept and offered again when the other direction has moved,
	// and at last, when the hold is over, with s.Last set.
	Data(f *Flow, d Direction, s *Segment) int
	// Missing says that the next n octets, at least one, will not come.
	Missing(f *Flow, d Direction, n int64, why Cause)
	// Conflict says that octets were sent again with other content.
	Conflict(f *Flow, d Direction)
	// End says that the direction was ended by FIN.
	End(f *Flow, d Direction)
	// Timeout says that the time given to Flow.SetDeadline has come.
	Timeout(f *Flow)
	// Close is the last call for a flow that had any call before it.
	Close(f *Flow, why Reason)
}
