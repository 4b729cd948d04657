package http2

import "encoding/binary"

// Side is who sends.
type Side uint8

// The sides.
const (
	Client Side = iota
	Server
)

// Other is the opposite side.
func (s Side) Other() Side { return s ^ 1 }

// kind is a frame type (RFC 9113 section 6).
type kind uint8

const (
	kindData           kind = 0x0
	kindHeaders        kind = 0x1
	kindPriority       kind = 0x2
	kindReset          kind = 0x3
	kindSettings       kind = 0x4
	kindPushPromise    kind = 0x5
	kindPing           kind = 0x6
	kindGoAway         kind = 0x7
	kindWindowUpdate   kind = 0x8
	kindContinuation   kind = 0x9
	kindPriorityUpdate kind = 0x10 // RFC 9218 section 7.1
)

// Frame flags.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Bounds of frames.
const (
	headerOctets    = 9       // of a frame header
	defaultMaxFrame = 1 << 14 // payload octets, unless SETTINGS_MAX_FRAME_SIZE says more
	maxControl      = 192     // payload octets read of a frame that is neither DATA nor a header block
)

// preface is what a client says first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is a frame header.
type frame struct {
	length   uint32 // octets of the payload
	stream   uint32
	kind     kind
	flags    uint8
	reserved bool // the reserved bit is set
}

// frameFrom reads a frame header of headerOctets octets.
func frameFrom(b []byte) frame {
	id := binary.BigEndian.Uint32(b[5:])
	return frame{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		kind:   kind(b[3]), flags: b[4], stream: id &^ (1 << 31), reserved: id>>31 != 0,
	}
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// wellFormed reports whether length and stream are what the frame's type allows.
// Types that are not known may be anything (RFC 9113 section 4.1).
func (f *frame) wellFormed() bool {
	ofStream := f.stream != 0
	switch f.kind {
	case kindData, kindContinuation:
		return ofStream
	case kindHeaders:
		return ofStream && f.length >= f.prefix()
	case kindPriority:
		return ofStream && f.length == 5
	case kindReset:
		return ofStream && f.length == 4
	case kindSettings:
		return !ofStream && f.length%6 == 0 && (!f.has(flagAck) || f.length == 0)
	case kindPushPromise:
		return ofStream && f.length >= f.prefix()
	case kindPing:
		return !ofStream && f.length == 8
	case kindGoAway:
		return !ofStream && f.length >= 8
	case kindWindowUpdate:
		return f.length == 4
	case kindPriorityUpdate:
		return !ofStream && f.length >= 4
	}
	return true
}

// prefix is how many octets come before the fragment of a HEADERS or
// PUSH_PROMISE frame.
func (f *frame) prefix() (n uint32) {
	if f.has(flagPadded) {
		n++
	}
	if f.kind == kindHeaders && f.has(flagPriority) {
		n += 5
	}
	if f.kind == kindPushPromise {
		n += 4
	}
	return n
}

// fragment returns what of a HEADERS or PUSH_PROMISE frame is header block. cut
// says that the payload is not all there and the block goes on; ok is false if
// the frame contradicts itself.
func (f *frame) fragment(payload []byte) (fragment []byte, promised uint32, cut, ok bool) {
	if !f.wellFormed() {
		return nil, 0, false, false
	}
	padding := uint32(0)
	if f.has(flagPadded) {
		padding = uint32(payload[0])
		payload = payload[1:]
	}
	if f.kind == kindHeaders && f.has(flagPriority) {
		payload = payload[5:]
	}
	if f.kind == kindPushPromise {
		promised = be32(payload) &^ (1 << 31)
		payload = payload[4:]
	}
	length := f.length - f.prefix()
	if padding > length {
		return nil, 0, false, false
	}
	n := min(int(length-padding), len(payload))
	return payload[:n], promised, n < int(length-padding), true
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// flagsDefined are the flags that a frame type has, by type.
var flagsDefined = [...]uint8{
	kindData:           flagEndStream | flagPadded,
	kindHeaders:        flagEndStream | flagEndHeaders | flagPadded | flagPriority,
	kindSettings:       flagAck,
	kindPushPromise:    flagEndHeaders | flagPadded,
	kindPing:           flagAck,
	kindContinuation:   flagEndHeaders,
	kindPriorityUpdate: 0,
}

// sane is wellFormed, and says moreover that the frame is one that
// implementations send: of a known type, without undefined flags.
func (f *frame) sane() bool {
	switch {
	case f.kind > kindContinuation && f.kind != kindPriorityUpdate,
		f.flags&^flagsDefined[f.kind] != 0, f.reserved:
		return false
	case f.kind == kindData && f.length == 0:
		return f.has(flagEndStream)
	case f.kind == kindHeaders:
		return f.length > f.prefix() && f.wellFormed()
	}
	return f.wellFormed()
}
