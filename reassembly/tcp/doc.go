// Package tcp follows TCP connections seen from outside: it makes of packets
// the octets that each side sent, in order, and says what of them is missing.
//
// A [Table] holds the flows of one shard. Its owner feeds it packets in input
// order ([Table.Packet]) and moves its clock ([Table.Advance]); what comes out
// goes to a [Consumer], at once and on the same goroutine. Nothing here locks,
// and a Table is not for concurrent use.
//
// # Missing octets
//
// A passive observer can't ask again, so it must decide when octets are gone.
// The receiver's acknowledgement proves that they were sent and arrived; but
// feeds reorder, and mirrors race the two directions of a connection. So
// octets are declared missing when
//
//   - an acknowledgement passes them and then [Config.Hold] of event time or
//     [Config.HoldPackets] packets of the flow go by without them;
//   - only one direction is on the mirror, and [Config.HoldOneWay] goes by;
//   - the flow's or shard's buffers are full of what comes after them;
//   - the connection ends: FIN, RST, expiry, eviction, end of input.
//
// Unacknowledged octets don't get lost by waiting: their receiver waits too. So
// a sender can't make its stream skip octets by sending ahead of itself.
//
// # Sequence space
//
// The first copy of an octet wins. Copies that differ are counted where both
// are at hand: against what waits out of order, and for a segment sent again as
// it was against a digest of the last two delivered ones, unless the consumer did
// not look at them ([Segment.Unread]); a retransmission that is cut differently
// from what was delivered is not compared. Resets must fall
// into the window and lie idle for [Config.Hold] before they end a flow; a SYN
// with a new number inside an open connection replaces it only once the other
// side has acknowledged it (RFC 5961 section 4: its receiver would not obey it
// either).
//
// # Memory
//
// Segments in order are handed on as they are, as views that are valid until
// the consumer returns; only those out of order, and those that the consumer
// refuses because the other direction must come first, are copied, into a
// balanced tree per direction, within a share per flow and per shard.
// An idle flow costs its Flow, a slot of the index, and what the consumer attaches;
// one that was closed and is remembered for [Config.Linger] less than a third of its Flow.
//
// Identity of a flow is IP version, addresses and ports; VLAN tags take no part
// (mirrors tag the directions differently). Checksums, urgent data and
// selective acknowledgements are not read; window scaling is not known, so
// windows are taken as a fixed 1 MiB.
package tcp
