package pipeline

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"offpath/capture"
	"offpath/reassembly"
)

// identity is what all transactions of a connection have in common. The zero
// value is one that is not known yet.
type identity struct {
	communityID string
	wrapped     *wrapped // nil if nothing stood around it
}

// wrapped is how a connection was wrapped, as transactions have it.
type wrapped struct {
	vlan          []uint16
	encapsulation []string
}

const (
	protocolTCP    = 6 // IANA protocol numbers
	protocolUDP    = 17
	communityIDLen = 2 + 28 // octets: version, colon, SHA-1 in base64
)

// newIdentity computes Community ID v1 with seed 0
// (github.com/corelight/community-id-spec), and lists the wrapping.
func newIdentity(protocol byte, a, b netip.AddrPort, wrapping *capture.Wrapping) identity {
	if c := a.Addr().Compare(b.Addr()); c > 0 || c == 0 && a.Port() > b.Port() {
		a, b = b, a
	}
	var buf [2 + 16 + 16 + 2 + 2 + 2]byte
	tuple := buf[:2]
	for _, addr := range []netip.Addr{a.Addr(), b.Addr()} {
		if addr.Is4() {
			octets := addr.As4()
			tuple = append(tuple, octets[:]...)
		} else {
			octets := addr.As16()
			tuple = append(tuple, octets[:]...)
		}
	}
	tuple = append(tuple, protocol, 0)
	tuple = binary.BigEndian.AppendUint16(tuple, a.Port())
	tuple = binary.BigEndian.AppendUint16(tuple, b.Port())
	digest := sha1.Sum(tuple)
	text := [communityIDLen]byte{'1', ':'}
	base64.StdEncoding.Encode(text[2:], digest[:])
	return identity{string(text[:]), newWrapped(wrapping)}
}

func newWrapped(wrapping *capture.Wrapping) *wrapped {
	if wrapping.Tags == 0 && wrapping.Depth == 0 {
		return nil
	}
	w := new(wrapped)
	if n := wrapping.Tags; n > 0 {
		w.vlan = append(w.vlan, wrapping.VLAN[:n]...)
	}
	for _, layer := range wrapping.Layers[:wrapping.Depth] {
		w.encapsulation = append(w.encapsulation, layer.String())
	}
	return w
}

// mark says in a transaction which connection it is of, and gives it its
// event.id.
func (id *identity) mark(tx *reassembly.Transaction, ids *idText, start int64, sequence int) {
	tx.CommunityID = id.communityID
	if w := id.wrapped; w != nil {
		tx.VLAN, tx.Encapsulation = w.vlan, w.encapsulation
	}
	text := id.eventID(start, sequence)
	tx.ID = ids.add(text[:])
}

// eventID returns event.id: 96 bits, as 24 hex digits, mixed from the digest in
// the Community ID, start and sequence. No key takes part. The digest sets
// connections apart; within one, two rounds of a folded multiplication (as in
// wyhash) do.
func (id *identity) eventID(start int64, sequence int) (text [24]byte) {
	var digest [24]byte
	copy(digest[:], id.communityID[len("1:"):])
	a, b, c := binary.LittleEndian.Uint64(digest[:]), binary.LittleEndian.Uint64(digest[8:]), binary.LittleEndian.Uint64(digest[16:])
	at, nth := uint64(start), uint64(sequence)
	x := fold(a^at, b^nth^0xa0761d6478bd642f)
	y := fold(c^x^0xe7037ed1a0b428db, a+at^nth<<32)
	binary.BigEndian.PutUint64(text[:], hexDigits(uint32(x>>32)))
	binary.BigEndian.PutUint64(text[8:], hexDigits(uint32(x)))
	binary.BigEndian.PutUint64(text[16:], hexDigits(uint32(y)))
	return text
}

// hexDigits returns v as eight hex digits, the first the highest octet.
func hexDigits(v uint32) uint64 {
	const ones = 0x0101010101010101
	w := uint64(v)
	w = (w | w<<16) & 0x0000ffff0000ffff
	w = (w | w<<8) & 0x00ff00ff00ff00ff
	w = (w | w<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (w + 6*ones) >> 4 & ones
	return w + '0'*ones + letters*('a'-'0'-10)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
