package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// refusal sets RefusedBy if the response carries the load balancer's marker: the
// marker header with the verdict's id, as 16 hex digits or as the decimals of its two
// 32-bit halves, HI.LO (a load balancer may know it only as two integers). Neither half
// of an id is 0. The status says nothing: a load balancer that deceives answers as the
// site would, and whoever took that for the site's word would learn from its own lies.
func (e *Extractor) refusal(tx *reassembly.Transaction, head *message.Head) {
	marker, _ := head.Get(e.marker)
	if id, ok := verdictID(marker); ok {
		e.hex = appendHex(e.hex[:0], id)
		e.set(&tx.RefusedBy, e.hex)
	}
}

func verdictID(b []byte) (id uint64, ok bool) {
	if high, low, found := bytes.Cut(b, []byte{'.'}); found {
		h, ok := decimal32(high)
		l, ok2 := decimal32(low)
		return uint64(h)<<32 | uint64(l), ok && ok2
	}
	if len(b) != 16 {
		return 0, false
	}
	for _, c := range b {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		id = id<<4 | uint64(d)
	}
	return id, id>>32 != 0 && uint32(id) != 0
}

// decimal32 parses a decimal from 1 to 2^32-1.
func decimal32(b []byte) (uint32, bool) {
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return uint32(v), v > 0 && v < 1<<32
}
