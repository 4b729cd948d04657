// Package capture says where packets come from, what was lost on the way, and
// how they were wrapped.
//
// A [Source] (a capture file in capture/pcapfile, a live ring in
// capture/afpacket) delivers packets, already decoded by capture/decode, in
// batches per worker. A worker gets all packets of a flow, and of a capture file all
// of a shard, and is the only one to touch what is kept of them: nothing behind a
// batch needs a lock.
//
// Memory: every slice of a [Packet] is a view into the source's buffers (a
// kernel ring block, a part of a file, a datagram put together from fragments)
// and is valid only until the [Handler] returns. Whoever keeps octets copies
// them.
//
// Time: a packet's time is the capture's, in nanoseconds since the Unix epoch.
// Its Clock is the running maximum of the times of the whole input up to and
// including it, so that what expires downstream does not depend on the number
// of workers.
package capture

import (
	"context"
	"net/netip"
)

// Shards is the number of shards that flows are divided into, whatever the
// number of workers.
const Shards = 256

// Addr is an IP address in 16 octets; IPv4 is held IPv4-mapped (RFC 4291
// section 2.5.5.2). It holds no pointer, so tables keyed by it cost the
// garbage collector nothing.
type Addr [16]byte

// Netip returns the address as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// AddrFrom returns the address that netip holds.
func AddrFrom(a netip.Addr) Addr { return a.As16() }

// Encapsulation is one layer around the innermost IP packet.
type Encapsulation uint8

// The layers that capture/decode unwraps, a closed list. Their names are those
// of offpath.encapsulation in the transaction.
const (
	EncapsulationNone       Encapsulation = iota
	EncapsulationVLAN                     // IEEE 802.1Q
	EncapsulationQinQ                     // IEEE 802.1ad service tag
	EncapsulationMPLS                     // a label stack (RFC 3032), with or without a pseudowire (RFC 4448)
	EncapsulationPPPoE                    // session stage (RFC 2516)
	EncapsulationGRE                      // RFC 2784, 2890; NVGRE (RFC 7637); PPTP (RFC 2637)
	EncapsulationERSPAN1                  // ERSPAN type I, its GRE header included
	EncapsulationERSPAN2                  // ERSPAN type II, its GRE header included
	EncapsulationERSPAN3                  // ERSPAN type III, its GRE header included
	EncapsulationVXLAN                    // RFC 7348
	EncapsulationVXLANGPE                 // VXLAN generic protocol extension
	EncapsulationGeneve                   // RFC 8926
	EncapsulationIPIP                     // IPv4 in IP (RFC 2003, 2473)
	Encapsulation6in4                     // IPv6 in IPv4 (RFC 4213)
	Encapsulation6in6                     // IPv6 in IPv6 (RFC 2473)
	EncapsulationGTP                      // GTP-U version 1 (3GPP TS 29.281)
	EncapsulationTeredo                   // RFC 4380
	EncapsulationAYIYA                    // "anything in anything", of SixXS
	EncapsulationNSH                      // network service header (RFC 8300)
	EncapsulationVNTag                    // Cisco VN-Tag
	EncapsulationETag                     // IEEE 802.1BR
	EncapsulationPBB                      // IEEE 802.1ah
	EncapsulationFabricPath               // Cisco FabricPath
	EncapsulationCAPWAP                   // data channel (RFC 5415, 5416)
)

var encapsulationNames = [...]string{
	"", "vlan", "qinq", "mpls", "pppoe", "gre", "erspan1", "erspan2", "erspan3", "vxlan", "vxlan_gpe", "geneve",
	"ipip", "6in4", "6in6", "gtp", "teredo", "ayiya", "nsh", "vntag", "etag", "pbb", "fabricpath", "capwap",
}

// String returns the name used in offpath.encapsulation.
func (e Encapsulation) String() string {
	if int(e) < len(encapsulationNames) {
		return encapsulationNames[e]
	}
	return "unknown"
}

// TCP control bits as in the header's 14th octet (RFC 9293 section 3.1).
const (
	FlagFIN uint8 = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Disposition is what became of one frame in the decoder: used, or why not.
// Frames seen = the sum over all of them, and a counter stands behind each (see
// Stats.Frames).
type Disposition uint8

const (
	// DispositionTCP is a frame whose innermost TCP header was decoded: the
	// kind that reassembly reads.
	DispositionTCP Disposition = iota
	// DispositionNotIP is a frame that carries no IP (ARP, LLDP, STP …).
	DispositionNotIP
	// DispositionNotTCP is IP that carries something else than TCP.
	DispositionNotTCP
	// DispositionFragment is a fragment that did not make its datagram whole.
	// The one that does has the disposition of the datagram.
	DispositionFragment
	// DispositionTruncated is a frame that ends inside a header, because the
	// snap length cut it or because it lies about its length.
	DispositionTruncated
	// DispositionMalformed is a frame whose headers contradict each other.
	DispositionMalformed
	// DispositionUnsupportedLink is a frame of a link type that is not decoded.
	DispositionUnsupportedLink
	// DispositionQUIC is a UDP datagram that begins with a long header of QUIC
	// (RFC 9000 section 17.2), where hellos are: addresses, ports and payload
	// are those of UDP.
	DispositionQUIC

	// Dispositions is their number.
	Dispositions int = iota
)

var dispositionNames = [...]string{"tcp", "not_ip", "not_tcp", "fragment", "truncated", "malformed", "unsupported_link", "quic"}

// String returns the name used in metrics.
func (d Disposition) String() string {
	if int(d) < len(dispositionNames) {
		return dispositionNames[d]
	}
	return "unknown"
}

// LinkType is a link-layer header type as registered by tcpdump.org
// (LINKTYPE_ values).
type LinkType uint16

// Link types that are decoded.
const (
	LinkNull       LinkType = 0   // BSD loopback, host byte order of the writer
	LinkEthernet   LinkType = 1   // IEEE 802.3
	LinkPPP        LinkType = 9   // PPP, with or without address and control
	LinkPPPHDLC    LinkType = 50  // PPP in HDLC-like framing, or Cisco HDLC
	LinkPPPoE      LinkType = 51  // beginning with the PPPoE header
	LinkRaw        LinkType = 101 // IPv4 or IPv6 by version
	LinkCiscoHDLC  LinkType = 104
	LinkWLAN       LinkType = 105 // IEEE 802.11
	LinkLoop       LinkType = 108 // OpenBSD loopback, network byte order
	LinkSLL        LinkType = 113 // Linux cooked v1
	LinkRadiotap   LinkType = 127 // IEEE 802.11 behind a radiotap header
	LinkPPI        LinkType = 192 // per-packet information, then a frame of the type it names
	LinkPPPWithDir LinkType = 204 // PPP behind an octet that tells the direction
	LinkIPv4       LinkType = 228
	LinkIPv6       LinkType = 229
	LinkNFLOG      LinkType = 239 // Linux netfilter log
	LinkPKTAP      LinkType = 258 // Apple's per-packet header, then a frame of the type it names
	LinkSLL2       LinkType = 276 // Linux cooked v2
)

// MaxTags and MaxEncapsulations bound what is remembered of a packet's
// wrapping. More layers, and more tags around an outermost packet, are a
// DispositionMalformed frame; more tags within tunnels are layers without an
// identifier.
const (
	MaxTags           = 3
	MaxEncapsulations = 8
)

// Wrapping is what stood around the innermost IP packet, outermost first.
type Wrapping struct {
	VLAN        [MaxTags]uint16 // VLAN identifiers, 0 to 4095
	Layers      [MaxEncapsulations]Encapsulation
	Tags, Depth uint8 // how many of VLAN and of Layers are used
}

// Packet is one frame and what its headers say. The zero value of every field
// that Disposition does not vouch for is meaningless.
type Packet struct {
	Time    int64 // capture time, ns since the epoch
	Clock   int64 // running maximum of Time over the input, ns since the epoch
	Data    []byte
	WireLen int // octets of the frame on the wire; more than len(Data) if the snap length cut it
	Link    LinkType
	Iface   uint16 // index of the interface within the source
	Shard   uint8  // symmetric, keyed hash of innermost addresses and ports

	Disposition Disposition
	Wrapping    Wrapping

	// Valid if Disposition is DispositionTCP; of DispositionQUIC, but for the
	// fields that are TCP's alone.
	IPVersion        uint8 // 4 or 6
	Flags            uint8 // TCP control bits
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Window           uint16
	Payload          []byte // captured octets of the TCP payload: within Data, or within memory of its own if it came in fragments
	PayloadLen       int    // octets of the payload by the IP header; more than len(Payload) if cut
}

// Batch is a run of packets for one worker, in input order, of every
// Disposition. Clock is at least the Clock of its last packet, and no packet
// that any worker gets in a later batch has a Clock below it. Packets may be
// empty: such a batch only moves the clock.
type Batch struct {
	Packets []Packet
	Clock   int64 // ns since the epoch
	// Secrets is a TLS key log (the format of SSLKEYLOGFILE) that the capture
	// itself holds, for the packets from here on; every worker gets it.
	Secrets []byte
}

// Handler takes the batches of one worker. Calls for the same worker come one
// after the other; calls for different workers may run at the same time. What
// the batch refers to is valid until the handler returns.
type Handler func(worker int, b Batch)

// Source delivers packets until its input ends or ctx is done.
type Source interface {
	// Workers is the number of workers that Run delivers to, numbered from 0.
	Workers() int
	// Run delivers every packet to h and returns after the last call of h.
	// At the end of input, and when ctx is done, it returns nil; input that
	// is damaged is delivered up to the damage and then reported as a
	// *DamageError; anything else that stops it is reported as it is.
	Run(ctx context.Context, h Handler) error
	// Stats may be called at any time from any goroutine.
	Stats() Stats
}

// Stats are a source's books: Received = the sum of Frames, and what never
// reached the source is in the other counters. All only grow.
type Stats struct {
	Received       uint64               // frames delivered to the decoder
	Bytes          uint64               // their captured octets
	Frames         [Dispositions]uint64 // by what became of them
	KernelDrops    uint64               // frames that the kernel dropped because the ring was full
	InterfaceDrops uint64               // frames that the interface itself counts as dropped or missed since start
	RingFreezes    uint64               // times the ring was full
	HandOverDrops  uint64               // frames of Received that were read by one worker, and dropped because the one they belong to was behind
	SnapLengthCut  uint64               // frames that were captured shorter than they were
	TimeBackwards  uint64               // frames stamped earlier than one before them
	RecordingDrops uint64               // frames not written to the recording
	DamagedInputs  uint64               // input files that were damaged or cut short
	Fragments      FragmentStats
}

// FragmentStats are the books of datagrams that came in fragments. Those begun
// = Whole + Expired + Conflicting + Evicted + those that still wait.
type FragmentStats struct {
	Whole       uint64 // datagrams put together
	Expired     uint64 // datagrams given up because fragments were missing for too long
	Conflicting uint64 // datagrams given up because their fragments contradict each other
	Evicted     uint64 // datagrams given up to stay within the memory for them
	Duplicates  uint64 // fragments that had been seen before
}

// Add adds the books of another decoder.
func (s *FragmentStats) Add(o FragmentStats) {
	s.Whole += o.Whole
	s.Expired += o.Expired
	s.Conflicting += o.Conflicting
	s.Evicted += o.Evicted
	s.Duplicates += o.Duplicates
}
