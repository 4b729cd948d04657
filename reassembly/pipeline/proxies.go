package pipeline

import (
	"hash/maphash"
	"net/netip"
	"time"

	"offpath/reassembly/http1"
)

// proxies remembers which trusted proxies pass connections on without a PROXY
// protocol header: what looks like one from these is the client's.
type proxies struct {
	seed  maphash.Seed
	known map[passage]*headerless
}

// passage is a proxy and the server that it passes connections on to: to others it
// may speak otherwise.
type passage struct {
	proxy  netip.Addr
	server netip.AddrPort
}

// headerless is what is known of a passage on which connections came without a
// header.
type headerless struct {
	until    int64               // event time up to which no header is believed, ns
	last     int64               // event time of the last of these connections, ns
	openings [maxOpenings]uint64 // digests of requests that they began with
	next     uint8               // the one that is replaced next
}

const (
	// disbelief is how long, ns of event time, a connection without a header
	// speaks against those with one. Later its proxy may have been configured
	// anew.
	disbelief = int64(time.Hour)

	maxPassages = 256     // of a shard, some 150 octets each; beyond it the one unheard of for longest is forgotten
	maxOpenings = 4       // of a passage, likewise
	maxOpening  = 1 << 10 // octets of an opening that are compared
)

// begins takes note of a connection that begins without a header, but with data.
//
// A health check of the proxy's own may come without one where clients' connections
// have it. It says the same each time, octet for octet, and clients differ: a
// request that is known already is no evidence again. So a check ends belief for an
// hour when it is first seen, and not for as long as it goes on; but over TLS, or in
// HTTP/2, where clients of one kind begin alike and checks need not, all count.
func (x *proxies) begins(p passage, data []byte, clock int64) {
	if x.known == nil {
		x.seed, x.known = maphash.MakeSeed(), map[passage]*headerless{}
	}
	h := x.known[p]
	if h == nil {
		if len(x.known) >= maxPassages {
			x.forget()
		}
		h = new(headerless)
		x.known[p] = h
	}
	h.last = clock
	if http1.Recognise(data) == http1.Request {
		digest := maphash.Bytes(x.seed, data[:min(len(data), maxOpening)])
		for _, opening := range h.openings {
			if opening == digest {
				return
			}
		}
		h.openings[h.next%maxOpenings] = digest
		h.next++
	}
	h.until = clock + disbelief
}

// disbelieved reports whether a header on a passage is the client's.
func (x *proxies) disbelieved(p passage, clock int64) bool {
	h := x.known[p]
	return h != nil && clock < h.until
}

// forget makes room for a passage.
func (x *proxies) forget() {
	var oldest passage
	var found *headerless
	for p, h := range x.known {
		if found == nil || h.last < found.last || h.last == found.last && p.compare(oldest) < 0 {
			oldest, found = p, h
		}
	}
	delete(x.known, oldest)
}

func (p passage) compare(o passage) int {
	if c := p.proxy.Compare(o.proxy); c != 0 {
		return c
	}
	return p.server.Compare(o.server)
}
