package netfilter

import (
	"golang.org/x/sys/unix"
)

// Expression is a step of a rule. A rule goes on to the next one while they hold.
type Expression struct {
	name string
	data attributes
}

// register is the one that expressions hand values on in.
const register = unix.NFT_REG_1

// Equal holds of packets whose value from before is this one.
func Equal(value ...byte) Expression { return compare(unix.NFT_CMP_EQ, value) }

// Differs holds of packets whose value from before is not this one.
func Differs(value ...byte) Expression { return compare(unix.NFT_CMP_NEQ, value) }

func compare(how uint32, value []byte) Expression {
	return Expression{"cmp", attributes(nil).uint32(unix.NFTA_CMP_SREG, register).uint32(unix.NFTA_CMP_OP, how).nested(unix.NFTA_CMP_DATA, data(value))}
}

// Family loads NFPROTO_IPV4 or NFPROTO_IPV6.
func Family() Expression { return meta(unix.NFT_META_NFPROTO) }

// Transport loads the protocol above IP.
func Transport() Expression { return meta(unix.NFT_META_L4PROTO) }

func meta(key uint32) Expression {
	return Expression{"meta", attributes(nil).uint32(unix.NFTA_META_DREG, register).uint32(unix.NFTA_META_KEY, key)}
}

// NetworkHeader loads octets of the IP header, TransportHeader of that above it.
func NetworkHeader(offset, length uint32) Expression {
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, length)
}

// TransportHeader is described at [NetworkHeader].
func TransportHeader(offset, length uint32) Expression {
	return payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, length)
}

func payload(base, offset, length uint32) Expression {
	return Expression{"payload", attributes(nil).uint32(unix.NFTA_PAYLOAD_DREG, register).uint32(unix.NFTA_PAYLOAD_BASE, base).
		uint32(unix.NFTA_PAYLOAD_OFFSET, offset).uint32(unix.NFTA_PAYLOAD_LEN, length)}
}

// And masks the value from before.
func And(mask ...byte) Expression {
	return Expression{"bitwise", attributes(nil).uint32(unix.NFTA_BITWISE_SREG, register).uint32(unix.NFTA_BITWISE_DREG, register).
		uint32(unix.NFTA_BITWISE_LEN, uint32(len(mask))).nested(unix.NFTA_BITWISE_MASK, data(mask)).nested(unix.NFTA_BITWISE_XOR, data(make([]byte, len(mask))))}
}

// In holds of packets whose value from before is in a set, and counts at its element.
func In(set string) Expression {
	return Expression{"lookup", attributes(nil).text(unix.NFTA_LOOKUP_SET, set).uint32(unix.NFTA_LOOKUP_SREG, register)}
}

// NotIn is the opposite of [In].
func NotIn(set string) Expression {
	e := In(set)
	e.data = e.data.uint32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
	return e
}

// Jump goes through a chain and comes back; Goto does not come back.
func Jump(chain string) Expression { return verdict(unix.NFT_JUMP, chain) }

// Goto is described at [Jump].
func Goto(chain string) Expression { return verdict(unix.NFT_GOTO, chain) }

// Return leaves the chain.
func Return() Expression { return verdict(unix.NFT_RETURN, "") }

func verdict(code int32, chain string) Expression {
	v := attributes(nil).uint32(unix.NFTA_VERDICT_CODE, uint32(code))
	if chain != "" {
		v = v.text(unix.NFTA_VERDICT_CHAIN, chain)
	}
	return Expression{"immediate", attributes(nil).uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
		nested(unix.NFTA_IMMEDIATE_DATA, attributes(nil).nested(unix.NFTA_DATA_VERDICT, v))}
}

// Reset answers a TCP segment with a reset; Unreachable answers any other packet with ICMP
// port unreachable.
func Reset() Expression {
	return Expression{"reject", attributes(nil).uint32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_TCP_RST)}
}

// Unreachable is described at [Reset].
func Unreachable() Expression {
	return Expression{"reject", attributes(nil).uint32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMPX_UNREACH).
		octets(unix.NFTA_REJECT_ICMP_CODE, []byte{unix.NFT_REJECT_ICMPX_PORT_UNREACH})}
}
