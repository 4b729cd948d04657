package pipeline

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"offpath/capture"
)

// identity is what all transactions of a connection have in common.
type identity struct {
	communityID   string
	vlan          []uint16
	encapsulation []string
}

const (
	protocolTCP    = 6      // IANA protocol number
	communityIDLen = 2 + 28 // octets: version, colon, SHA-1 in base64
)

// newIdentity computes Community ID v1 with seed 0
// (github.com/corelight/community-id-spec), and lists the wrapping.
func newIdentity(a, b netip.AddrPort, wrapping *capture.Wrapping) *identity {
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
	tuple = append(tuple, protocolTCP, 0)
	tuple = binary.BigEndian.AppendUint16(tuple, a.Port())
	tuple = binary.BigEndian.AppendUint16(tuple, b.Port())
	digest := sha1.Sum(tuple)
	text := [communityIDLen]byte{'1', ':'}
	base64.StdEncoding.Encode(text[2:], digest[:])
	id := &identity{communityID: string(text[:])}
	if n := wrapping.Tags; n > 0 {
		id.vlan = append(id.vlan, wrapping.VLAN[:n]...)
	}
	for _, layer := range wrapping.Layers[:wrapping.Depth] {
		id.encapsulation = append(id.encapsulation, layer.String())
	}
	return id
}

// eventID returns event.id: the first 96 bits of SHA-256 over Community ID, start
// and sequence, as 24 hex digits. No key takes part.
func (id *identity) eventID(start int64, sequence int) string {
	var buf [communityIDLen + 16]byte
	copy(buf[:], id.communityID)
	binary.BigEndian.PutUint64(buf[communityIDLen:], uint64(start))
	binary.BigEndian.PutUint64(buf[communityIDLen+8:], uint64(sequence))
	sum := sha256.Sum256(buf[:])
	var text [24]byte
	hex.Encode(text[:], sum[:12])
	return string(text[:])
}
