package tcp

// Stats are a table's books; tables of one worker share them. All counters only
// grow, but for Flows and Buffered, which are what is held now.
//
// Payload octets balance: Octets = Delivered + Duplicate + Ignored + Dropped
// + Stray + what waits. Sequence space balances too: what streams have moved
// forward by data = Delivered + Gap.
type Stats struct {
	Packets   uint64 // TCP packets
	Octets    uint64 // payload octets captured
	Delivered uint64 // octets handed on
	Gap       uint64 // octets declared missing
	GapCut    uint64 // of these, cut off by the snap length
	Gaps      uint64 // times that octets were declared missing
	Duplicate uint64 // octets that came again
	Conflicts uint64 // segments that came again with other octets
	Ignored   uint64 // octets of flows that nobody reads
	Dropped   uint64 // octets out of order that no buffer had room for
	Stray     uint64 // octets that belong to no open connection

	SegmentsOutOfOrder uint64 // segments that had to wait
	SegmentsDropped    uint64 // segments out of order that no buffer had room for
	ResetsIgnored      uint64 // RSTs outside the window, or belied by what followed
	SYNsIgnored        uint64 // SYNs inside a connection that the other side did not acknowledge
	PacketsStray       uint64 // packets without data that belong to no connection

	FlowsOpened    uint64
	FlowsClosed    [Reasons]uint64 // by reason
	FlowsMidstream uint64          // of the closed: joined after their start
	EvictedClosed  uint64          // of the evicted: remembered only
	EvictedOpen    uint64          // of the evicted: half open
	EvictedIdle    uint64          // of the evicted: idle longest
	Flows          uint64          // in the table now, closed ones included
	Buffered       uint64          // octets that wait now
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.Packets += o.Packets
	s.Octets += o.Octets
	s.Delivered += o.Delivered
	s.Gap += o.Gap
	s.GapCut += o.GapCut
	s.Gaps += o.Gaps
	s.Duplicate += o.Duplicate
	s.Conflicts += o.Conflicts
	s.Ignored += o.Ignored
	s.Dropped += o.Dropped
	s.Stray += o.Stray
	s.SegmentsOutOfOrder += o.SegmentsOutOfOrder
	s.SegmentsDropped += o.SegmentsDropped
	s.ResetsIgnored += o.ResetsIgnored
	s.SYNsIgnored += o.SYNsIgnored
	s.PacketsStray += o.PacketsStray
	s.FlowsOpened += o.FlowsOpened
	s.FlowsMidstream += o.FlowsMidstream
	for i := range s.FlowsClosed {
		s.FlowsClosed[i] += o.FlowsClosed[i]
	}
	s.EvictedClosed += o.EvictedClosed
	s.EvictedOpen += o.EvictedOpen
	s.EvictedIdle += o.EvictedIdle
	s.Flows += o.Flows
	s.Buffered += o.Buffered
}
