package pipeline

import (
	"offpath/reassembly/http1"
	"offpath/reassembly/proxyproto"
	"offpath/reassembly/tcp"
)

// passedOn reads the PROXY protocol header that a connection may begin with: one,
// since what looks like another is the client's, and no receiver believes it. Nor is
// one believed on a passage that was seen without, see proxies. It returns true if
// all of the input was taken; of a header in parts, those before the last are kept.
func (s *shard) passedOn(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input) bool {
	var kept []byte
	if l := c.layers; l != nil {
		switch {
		case l.proxied, len(l.preamble) > 0 && l.from != d:
			return false
		}
		kept = l.preamble
	}
	data := in.Data
	if len(kept) > 0 {
		var ok bool
		if data, ok = s.buffers.Append(s.budget, kept, in.Data); !ok {
			s.refuse(f, c)
			return true
		}
		c.layers.preamble = data
	}
	h, n, verdict := proxyproto.Parse(data)
	undecided := verdict == proxyproto.Undecided && len(data) <= proxyproto.MaxHeader
	switch {
	case (undecided || verdict == proxyproto.Yes) && s.over(c) == nil:
		s.refuse(f, c)
		return true
	case undecided:
		if len(kept) == 0 {
			var ok bool
			if c.layers.preamble, ok = s.buffers.Append(s.budget, nil, data); !ok {
				s.refuse(f, c)
				return true
			}
			c.layers.from = d
		}
		in.Data = nil
		return true
	case verdict == proxyproto.Yes:
		s.stats.ConnectionsProxied++
		f.SetClient(d)
		c.layers.proxied = true
		if p, trusted := s.passage(f, d); trusted && h.Source.IsValid() && !h.Local {
			if s.proxies.disbelieved(p, s.table.Clock()) {
				s.stats.ProxyHeadersDisbelieved++
			} else {
				c.layers.client = h.Source.Addr()
			}
		}
		s.forgetPreamble(c)
		taken := n - len(kept)
		in.Data, in.Seq = in.Data[taken:], in.Seq+uint32(taken)
		return len(in.Data) == 0
	case len(kept) > 0: // it was none after all
		in.Data, in.Seq = append([]byte(nil), data...), in.Seq-uint32(len(kept))
		s.forgetPreamble(c)
	}
	if client, known := f.Client(); verdict == proxyproto.No && known && client == d && f.Synchronised(d) {
		if p, trusted := s.passage(f, d); trusted {
			s.proxies.begins(p, in.Data, s.table.Clock())
		}
	}
	return false
}

// passage is that of a connection whose client is in direction d, if that client's
// word counts.
func (s *shard) passage(f *tcp.Flow, d tcp.Direction) (p passage, trusted bool) {
	source := f.Endpoint(d).Addr()
	return passage{source, f.Endpoint(d.Other())}, s.extractor.Trusts(source)
}

// forgetPreamble gives back what was kept of a header.
func (s *shard) forgetPreamble(c *conn) {
	if c.layers != nil {
		s.buffers.Release(s.budget, c.layers.preamble)
		c.layers.preamble = nil
	}
}
