// Package decode reads the headers of a captured frame: link layer, tags,
// tunnels, IP and TCP, down to the payload that reassembly wants.
//
// A [Decoder] fills a [capture.Packet] in place from its Data, WireLen, Link
// and Clock. It never fails, it classifies: every frame gets a
// [capture.Disposition]. Each goroutine has its own Decoder.
//
// # Memory
//
// Nothing is allocated but for fragments, and Payload is a view into Data. IP
// fragments, also those inside tunnels and of tunnels, are kept until their
// datagram is whole: the frame that completes it is decoded as if it had
// brought the whole datagram. Its Data stays the frame as captured; its
// Payload then lies in memory that the Decoder never writes to again. What
// fragments take, and for how long, is bounded: see [New] and fragments.go.
//
// # Tunnels
//
// Layers are unwrapped down to the innermost IP packet; [capture.Encapsulation]
// is the list. What an EtherType or an IP protocol number says is believed. A
// UDP port says little: a datagram on the port of a tunnel, or from Teredo's
// address range on any, counts as one only
// if the tunnel's header has no bit set that its specification reserves, the
// lengths in it agree with the datagram's, and behind it come an IP packet and
// a TCP header that hold together (or a fragment of one). In octets that are
// something else this takes more than 60 bits to be right by chance. If they
// aren't, the frame is DispositionNotTCP with the addresses of the outer packet
// as before the attempt.
//
// That keeps out what is no tunnel. A tunnel packet that somebody made up is
// one: where strangers can send GRE, IP in IP, VXLAN and the like to the far
// side of the mirror they can show connections that never were; of Teredo, any
// UDP port will do. A perimeter drops such packets, so mirror behind it, and name
// the networks whose tunnels are yours ([New]); offpath.encapsulation tells how a
// transaction was wrapped.
//
// Encrypted packets (ESP, protected IEEE 802.11 frames) are classified, not
// read.
//
// # What is not verified
//
// Checksums are not. A mirror port and a capture on the sending host see frames
// before the interface filled them in (checksum offload), so a wrong checksum
// says nothing about what the receiver got.
//
// An IP length beyond the frame's is read like a frame cut by the snap length,
// not as a lie: some mirrors cut frames themselves and hide it, and a host or
// router on the real path discards such a packet (RFC 1812 section 5.2.2), so
// nobody can use it to show us what the server does not see.
package decode

import (
	"encoding/binary"
	"net/netip"

	"offpath/capture"
)

// A Decoder reads frames for one goroutine. The zero value puts no fragments
// together: they are DispositionFragment, each by itself; and its shards are those
// of [Shard].
type Decoder struct {
	defragmenter *defragmenter
	tunnels      []netip.Prefix // whose tunnels are read; nil: all
	keyed        bool           // key is set
	key          shardKey
}

// New returns a Decoder that keeps fragments of unfinished datagrams in the
// given number of octets, at least MinMemory. When they don't suffice, the
// datagram that was begun first is given up. What shard a flow falls into depends
// on a secret, so that nobody outside can aim at one; if that is empty, it is the
// one of [Shard]. Tunnels in IP are read if both addresses around them are in the
// given networks; without any, all are.
func New(memory int, secret []byte, tunnels ...netip.Prefix) *Decoder {
	d := &Decoder{defragmenter: newDefragmenter(max(memory, MinMemory)), tunnels: tunnels}
	if len(secret) > 0 {
		d.keyed, d.key = true, newShardKey(secret)
	}
	return d
}

// Fragments returns the books of fragments. It is to be called from the
// goroutine that decodes.
func (d *Decoder) Fragments() capture.FragmentStats {
	if d.defragmenter == nil {
		return capture.FragmentStats{}
	}
	return d.defragmenter.stats
}

// Flush gives up the datagrams that wait, at the end of the input.
func (d *Decoder) Flush() {
	if d.defragmenter != nil {
		d.defragmenter.flush()
	}
}

// Decode fills p from p.Data, p.WireLen, p.Link and, for fragments, p.Clock:
// Disposition, Wrapping, Shard and, for DispositionTCP, everything below it.
//
// For a frame that is neither TCP nor QUIC, Payload is nil and PayloadLen 0.
func (d *Decoder) Decode(p *capture.Packet) {
	p.Wrapping = capture.Wrapping{}
	p.Shard, p.Payload, p.PayloadLen = 0, nil, 0
	b, size := p.Data, max(p.WireLen, len(p.Data))
	if p.Link == capture.LinkEthernet && len(b) >= 14 { // what link and network do too: fewer calls
		switch etherType := binary.BigEndian.Uint16(b[12:]); etherType {
		case etherIPv4:
			p.Disposition = d.ipv4(p, b[14:], size-14)
		case etherIPv6:
			p.Disposition = d.ipv6(p, b[14:], size-14)
		default:
			p.Disposition = d.network(p, etherType, b[14:], size-14)
		}
		return
	}
	p.Disposition = d.link(p, p.Link, b, size)
}

// The layers below have the same arguments: b begins with the layer, and holds
// what was captured up to the end of the layer around it; size is what of that
// there was on the wire.

// skip returns what follows n octets, of which some may not have been captured.
func skip(b []byte, n int) []byte { return b[min(n, len(b)):] }

// limit returns what the first n octets left of a layer and its size.
func limit(b []byte, size, n int) ([]byte, int) {
	return b[:min(n, len(b))], min(n, size)
}

// trusted reports whether a tunnel between the addresses of the packet at hand is
// read.
func (d *Decoder) trusted(p *capture.Packet) bool {
	return len(d.tunnels) == 0 || d.inNetworks(p.Src.Netip()) && d.inNetworks(p.Dst.Netip())
}

func (d *Decoder) inNetworks(a netip.Addr) bool {
	for _, network := range d.tunnels {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// push notes a layer. It returns false if there are too many.
func push(p *capture.Packet, e capture.Encapsulation) bool {
	w := &p.Wrapping
	if int(w.Depth) == capture.MaxEncapsulations {
		return false
	}
	w.Layers[w.Depth] = e
	w.Depth++
	return true
}
