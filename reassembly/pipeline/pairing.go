package pipeline

import "offpath/reassembly/tcp"

// match returns the request that the response beginning at position at answers,
// nil if none can be told. What was lost since the last pair decides how much
// proof is needed.
func (c *conn) match(at tcp.Position) *exchange {
	x := c.queue
	if x == nil || x.answered {
		return nil
	}
	if !c.responsesLost && !x.resynced {
		return x
	}
	if !at.HasAck {
		return nil
	}
	var only *exchange
	candidates := 0
	for ; x != nil; x = x.next {
		// The client had received what lies before x.first.Ack when it asked,
		// the server what lies before at.Ack when it answered.
		early := int32(at.Seq-x.first.Ack) < 0 || int32(at.Ack-x.headEnd) < 0
		if early || !x.first.HasAck || x.resynced && c.pipelined {
			continue
		}
		if at.Seq == x.first.Ack {
			return x
		}
		only = x
		candidates++
	}
	if candidates == 1 && only == c.newest && only.ended && at.Ack == only.end {
		return only
	}
	return nil
}

// unproven reports whether a response now needs more than its place in order.
func (c *conn) unproven() bool {
	return c.responsesLost || c.queue != nil && c.queue.resynced
}
