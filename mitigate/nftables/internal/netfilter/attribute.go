package netfilter

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// attributes are a sequence of struct nlattr, each with its value.
type attributes []byte

// octets appends an attribute.
func (a attributes) octets(kind uint16, value []byte) attributes {
	a = binary.NativeEndian.AppendUint16(a, uint16(unix.NLA_HDRLEN+len(value)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, value...)
	for len(a)%4 != 0 {
		a = append(a, 0)
	}
	return a
}

func (a attributes) nested(kind uint16, value attributes) attributes {
	return a.octets(kind|unix.NLA_F_NESTED, value)
}

func (a attributes) text(kind uint16, value string) attributes {
	return a.octets(kind, append([]byte(value), 0))
}

func (a attributes) uint32(kind uint16, value uint32) attributes {
	return a.octets(kind, binary.BigEndian.AppendUint32(nil, value))
}

func (a attributes) uint64(kind uint16, value uint64) attributes {
	return a.octets(kind, binary.BigEndian.AppendUint64(nil, value))
}

// data is struct nft_data with a value.
func data(value []byte) attributes { return attributes(nil).octets(unix.NFTA_DATA_VALUE, value) }

// each lists attributes by kind; it ends where a length makes no sense.
func each(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.NLA_HDRLEN || length > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.NLA_HDRLEN:length]) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}

// find is the value of the first attribute of a kind; nil: there is none.
func find(b []byte, kind uint16) []byte {
	for k, value := range each(b) {
		if k == kind {
			return value
		}
	}
	return nil
}

// text is a string that ends at its NUL.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// number is an integer in network order, 0 if it has neither 4 nor 8 octets.
func number(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
