package pipeline

import (
	"offpath/reassembly"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls/hello"
)

// hello hands over a ClientHello as a line of its own.
func (s *shard) hello(f *tcp.Flow, c *conn, h *hello.Client) {
	tx := reassembly.NewTransaction()
	now := s.table.Clock()
	s.identify(f, c, tx, now, -1)
	tx.Sequence = 0
	if !tx.Client.IsValid() {
		tx.Client = tx.Source.Addr().Unmap()
	}
	tx.End, tx.Duration = now, reassembly.Unknown
	tx.Hello = &reassembly.Hello{JA3: h.JA3(), Version: h.Version()}
	for _, protocol := range h.Protocols {
		tx.Hello.Protocols = append(tx.Hello.Protocols, string(protocol))
	}
	s.stats.Hellos++
	s.done = append(s.done, tx)
}
