package pipeline

import (
	"net/netip"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/quic"
)

// hello hands over a ClientHello as a line of its own.
func (s *shard) hello(f *tcp.Flow, c *conn, h *hello.Client) {
	tx := s.txs.New()
	s.identify(f, c, tx, s.table.Clock(), -1)
	tx.JA4, tx.ServerName = h.JA4(hello.TCP), string(h.ServerName)
	s.handHello(tx, h)
}

// datagram looks for a ClientHello in QUIC.
func (s *shard) datagram(p *capture.Packet) {
	if s.quic == nil {
		s.quic, _ = quic.New(quicBounds) // they are valid
	}
	flow := quic.Flow{
		Source:      netip.AddrPortFrom(p.Src.Netip(), p.SrcPort),
		Destination: netip.AddrPortFrom(p.Dst.Netip(), p.DstPort),
	}
	h := s.quic.Datagram(flow, p.Payload)
	if h == nil {
		return
	}
	id := newIdentity(protocolUDP, flow.Source, flow.Destination, &p.Wrapping)
	tx := s.txs.New()
	tx.Start = p.Clock
	tx.Source, tx.Destination = flow.Source, flow.Destination
	id.mark(tx, &s.ids, tx.Start, -1)
	tx.JA4, tx.ServerName = h.JA4(hello.QUIC), string(h.ServerName)
	s.handHello(tx, h)
}

// quicBounds are those of a shard.
var quicBounds = quic.Config{MaxConnections: 64, MaxOctets: 64 << 10}

// handHello hands a ClientHello over.
func (s *shard) handHello(tx *reassembly.Transaction, h *hello.Client) {
	tx.Sequence = 0
	if !tx.Client.IsValid() {
		tx.Client = tx.Source.Addr().Unmap()
	}
	tx.End, tx.Duration = tx.Start, reassembly.Unknown
	event := &reassembly.Hello{JA3: h.JA3(), Version: h.Version()}
	for _, protocol := range h.Protocols {
		event.Protocols = append(event.Protocols, string(protocol))
	}
	tx.Event = event
	s.stats.Hellos++
	s.done = append(s.done, tx)
}
