package http2

import "encoding/binary"

// rpcPrefix is how many octets come before a message of gRPC over HTTP/2: a flag
// that says whether it is compressed, and its length.
const rpcPrefix = 5

// rpcReader counts the messages of gRPC over HTTP/2.
type rpcReader struct {
	octets [rpcPrefix]byte // of a prefix that came in parts
	have   uint8           // of them
	remain uint32          // octets left of the message at hand
}

// read reads on in a body.
func (p *rpcReader) read(rpc *RPC, data []byte) {
	for len(data) > 0 && !rpc.Partial {
		if p.remain > 0 {
			n := min(uint64(p.remain), uint64(len(data)))
			p.remain -= uint32(n)
			data = data[n:]
			continue
		}
		prefix := data
		if p.have > 0 || len(data) < rpcPrefix {
			n := copy(p.octets[p.have:], data)
			data = data[n:]
			if p.have += uint8(n); p.have < rpcPrefix {
				return
			}
			prefix, p.have = p.octets[:], 0
		} else {
			data = data[rpcPrefix:]
		}
		if prefix[0] > 1 {
			rpc.Partial = true // this is no message
			return
		}
		rpc.Messages++
		p.remain = binary.BigEndian.Uint32(prefix[1:])
	}
}

// missing takes note of n octets that will not come.
func (p *rpcReader) missing(rpc *RPC, n int64) {
	if n > int64(p.remain) {
		rpc.Partial = true
		return
	}
	p.remain -= uint32(n)
}
