// Package script writes the packets of TCP connections for tests: what each
// side says, and then what the network and the mirror do to it.
//
//	s := script.New()
//	c := s.Connection()
//	c.Open()
//	c.Client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
//	c.Server("HTTP/1.1 204 No Content\r\n\r\n")
//	c.Close()
//	packets := s.Packets()
//
// Packets are as capture/decode leaves them. Times start at [Epoch] and go up by
// Step with each packet.
package script

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"offpath/capture"
	"offpath/capture/decode"
)

// Epoch is the time of the first packet, ns since the Unix epoch.
const Epoch int64 = 1_700_000_000_000_000_000

// Script is packets in the making.
type Script struct {
	Step    time.Duration // between packets
	now     int64
	ports   uint16
	packets []capture.Packet
}

// New returns an empty script.
func New() *Script {
	return &Script{Step: 100 * time.Microsecond, now: Epoch, ports: 40000}
}

// Connection is one TCP connection of a script.
type Connection struct {
	ClientAddr, ServerAddr netip.AddrPort
	MSS                    int    // octets of a segment at most
	SeqClient, SeqServer   uint32 // of what each side sends next
	Silent                 bool   // no bare acknowledgements

	script *Script
}

// Connection returns a connection from a port of its own; nothing is sent yet.
func (s *Script) Connection() *Connection {
	s.ports++
	return &Connection{
		ClientAddr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), s.ports),
		ServerAddr: netip.MustParseAddrPort("198.51.100.20:8080"),
		MSS:        1400,
		SeqClient:  1000 + uint32(s.ports)<<12,
		SeqServer:  0xfffffff0 - uint32(s.ports), // wraps soon
		script:     s,
	}
}

// Wait lets time go by.
func (s *Script) Wait(d time.Duration) { s.now += int64(d) }

// Packets returns all packets so far, ready for a pipeline.
func (s *Script) Packets() []capture.Packet { return Stamp(slices.Clone(s.packets)) }

// Open is the three-way handshake.
func (c *Connection) Open() {
	c.Send(true, capture.FlagSYN, nil)
	c.Send(false, capture.FlagSYN|capture.FlagACK, nil)
	c.Send(true, capture.FlagACK, nil)
}

// Client sends octets of the client, acknowledged by the server.
func (c *Connection) Client(octets string) { c.say(true, octets) }

// Server sends octets of the server, acknowledged by the client.
func (c *Connection) Server(octets string) { c.say(false, octets) }

// Close ends the connection: FIN of the client, FIN of the server, and the last
// acknowledgement.
func (c *Connection) Close() {
	c.Send(true, capture.FlagFIN|capture.FlagACK, nil)
	c.Send(false, capture.FlagFIN|capture.FlagACK, nil)
	c.Send(true, capture.FlagACK, nil)
}

// CloseByServer is Close with the server's FIN first.
func (c *Connection) CloseByServer() {
	c.Send(false, capture.FlagFIN|capture.FlagACK, nil)
	c.Send(true, capture.FlagFIN|capture.FlagACK, nil)
	c.Send(false, capture.FlagACK, nil)
}

func (c *Connection) say(client bool, octets string) {
	for data := []byte(octets); len(data) > 0; {
		n := min(len(data), c.MSS)
		c.Send(client, capture.FlagACK|capture.FlagPSH, data[:n])
		data = data[n:]
	}
	if !c.Silent {
		c.Send(!client, capture.FlagACK, nil)
	}
}

// Send sends one packet with the sequence numbers of the moment.
func (c *Connection) Send(client bool, flags uint8, payload []byte) *capture.Packet {
	from, to, seq, ack := c.ClientAddr, c.ServerAddr, &c.SeqClient, c.SeqServer
	if !client {
		from, to, seq, ack = to, from, &c.SeqServer, c.SeqClient
	}
	if flags&capture.FlagACK == 0 {
		ack = 0
	}
	c.script.packets = append(c.script.packets, capture.Packet{
		Time: c.script.now, Disposition: capture.DispositionTCP, IPVersion: 4, Flags: flags,
		Src: capture.AddrFrom(from.Addr()), Dst: capture.AddrFrom(to.Addr()), SrcPort: from.Port(), DstPort: to.Port(),
		Seq: *seq, Ack: ack, Window: 65535, Payload: payload, PayloadLen: len(payload),
	})
	if from.Addr().Is6() {
		c.script.packets[len(c.script.packets)-1].IPVersion = 6
	}
	*seq += uint32(len(payload))
	if flags&(capture.FlagSYN|capture.FlagFIN) != 0 {
		*seq++
	}
	c.script.now += int64(c.script.Step)
	return &c.script.packets[len(c.script.packets)-1]
}

// Stamp gives packets, in the order in which they now stand, the times that they
// have together, and their clocks and shards.
func Stamp(packets []capture.Packet) []capture.Packet {
	times := make([]int64, len(packets))
	for i := range packets {
		times[i] = packets[i].Time
	}
	slices.Sort(times)
	for i := range packets {
		p := &packets[i]
		p.Time, p.Clock = times[i], times[i]
		p.Shard = decode.Shard(p.Src, p.Dst, p.SrcPort, p.DstPort)
	}
	return packets
}

// Without returns the packets but for those at the indices given.
func Without(packets []capture.Packet, indices ...int) []capture.Packet {
	var kept []capture.Packet
	for i, p := range packets {
		if !slices.Contains(indices, i) {
			kept = append(kept, p)
		}
	}
	return Stamp(kept)
}

// Moved returns the packets with the one at from put where to is.
func Moved(packets []capture.Packet, from, to int) []capture.Packet {
	p := packets[from]
	list := slices.Delete(slices.Clone(packets), from, from+1)
	return Stamp(slices.Insert(list, to, p))
}

// Shuffled returns the packets each moved back by less than window places.
func Shuffled(packets []capture.Packet, window int, r *rand.Rand) []capture.Packet {
	return ShuffledWithin(packets, window, math.MaxInt64, r)
}

// ShuffledWithin is Shuffled, but no packet is moved behind one that is later by
// more than the time given.
func ShuffledWithin(packets []capture.Packet, window int, late time.Duration, r *rand.Rand) []capture.Packet {
	type placed struct {
		at float64
		p  capture.Packet
	}
	list := make([]placed, len(packets))
	last := 0
	for i, p := range packets {
		for last = max(last, i); last+1 < len(packets) && packets[last+1].Time-p.Time <= int64(late); {
			last++
		}
		list[i] = placed{float64(i) + r.Float64()*float64(min(window, last-i+1)), p}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	shuffled := make([]capture.Packet, len(packets))
	for i := range list {
		shuffled[i] = list[i].p
	}
	return Stamp(shuffled)
}

// Doubled returns the packets, of which a share appears twice in a row.
func Doubled(packets []capture.Packet, share float64, r *rand.Rand) []capture.Packet {
	var doubled []capture.Packet
	for _, p := range packets {
		doubled = append(doubled, p)
		if r.Float64() < share {
			doubled = append(doubled, p)
		}
	}
	return Stamp(doubled)
}

// Lossy returns the packets without a share of them, and how many carried data
// among those that are gone.
func Lossy(packets []capture.Packet, share float64, r *rand.Rand) (kept []capture.Packet, lost []capture.Packet) {
	for _, p := range packets {
		if r.Float64() < share {
			lost = append(lost, p)
		} else {
			kept = append(kept, p)
		}
	}
	return Stamp(kept), lost
}

// Resegmented returns the packets with each one's octets cut into segments of at
// most max octets, where chance wants.
func Resegmented(packets []capture.Packet, max int, r *rand.Rand) []capture.Packet {
	var cut []capture.Packet
	for _, p := range packets {
		whole := p
		for rest := whole.Payload; ; {
			n := min(len(rest), 1+r.IntN(max))
			p.Payload, p.PayloadLen = rest[:n], n
			rest = rest[n:]
			if len(rest) == 0 {
				p.Flags = whole.Flags
				cut = append(cut, p)
				break
			}
			p.Flags = whole.Flags &^ (capture.FlagFIN | capture.FlagPSH)
			cut = append(cut, p)
			p.Seq += uint32(n)
			if whole.Flags&capture.FlagSYN != 0 && n == len(whole.Payload)-len(rest) {
				p.Seq++ // the SYN's own number
			}
			whole.Flags &^= capture.FlagSYN
		}
	}
	return Stamp(cut)
}
