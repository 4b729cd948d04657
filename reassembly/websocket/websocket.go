// Package websocket counts what a WebSocket connection says (RFC 6455): frames,
// messages and octets of each direction, by kind. It reads the octets that follow
// the 101, or those of an HTTP/2 stream that CONNECT made a WebSocket (RFC 8441).
//
// A [Counter] is the state of one direction, and its zero value reads from the
// first frame. Nothing is buffered or allocated: payloads are skipped, but for
// the two octets of a close code. It is not for concurrent use.
//
// Frames carry no mark by which one could be found in the middle of the stream,
// so that octets missing beyond a payload end the count: [Counts.Partial]. So does
// what is no frame at all. Payloads are neither unmasked nor decompressed.
package websocket

import (
	"encoding/binary"
	"math"
)

// Opcodes (RFC 6455 section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// Bits of a frame header.
const (
	bitFIN      = 0x80
	bitRSV1     = 0x40
	bitsRSV23   = 0x30
	bitMask     = 0x80
	bitControl  = 0x08
	maxControl  = 125 // octets of a control frame's payload
	maskingKey  = 4   // octets
	headerShort = 2   // octets of the shortest frame header
)

// Counts are what a direction has said so far.
type Counts struct {
	Frames    uint64 // frame headers
	Octets    uint64 // of payloads, missing ones included
	Gap       uint64 // of these, missing
	Messages  uint64 // text and binary messages begun
	Fragments uint64 // continuation frames

	Text, Binary, Close, Ping, Pong uint64 // frames by opcode

	// CloseCode is the status code of the first close frame (RFC 6455 section
	// 7.4), 0 if there is none.
	CloseCode  uint16
	Compressed bool // a message had the bit that permessage-deflate uses (RFC 7692)
	Invalid    bool // something was not as RFC 6455 has it: masking, opcode, fragmentation, length
	Partial    bool // octets were missing, or no frames: what followed was not counted
}

// Counter reads one direction. The zero value reads what the client says.
type Counter struct {
	Counts

	remain uint64   // octets left of the payload
	header [14]byte // of the frame at hand, as far as it came
	code   [2]byte  // of the close frame at hand
	have   uint8    // octets of the header
	coded  uint8    // octets of the close code
	opcode byte

	server  bool // frames must not be masked
	inside  bool // inside a payload
	message bool // a fragmented message is not finished
	mask    bool // the frame at hand is masked
}

// Server makes the counter read what the server says.
func (c *Counter) Server() { c.server = true }

// Read reads on.
func (c *Counter) Read(data []byte) {
	for len(data) > 0 && !c.Partial {
		if c.inside {
			data = c.payload(data)
			continue
		}
		need := c.headerLength()
		n := copy(c.header[c.have:need], data)
		data = data[n:]
		if c.have += uint8(n); int(c.have) == c.headerLength() {
			c.begin()
		}
	}
}

// headerLength is how long the header of the frame at hand is, as far as can be
// told (RFC 6455 section 5.2).
func (c *Counter) headerLength() int {
	if c.have < headerShort {
		return headerShort
	}
	n := headerShort
	switch c.header[1] &^ bitMask {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if c.header[1]&bitMask != 0 {
		n += maskingKey
	}
	return n
}

// begin begins the frame whose header was read.
func (c *Counter) begin() {
	h := c.header[:]
	c.opcode, c.mask = h[0]&0xf, h[1]&bitMask != 0
	length := uint64(h[1] &^ bitMask)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(h[2:]))
		c.Invalid = c.Invalid || length < 126
	case 127:
		length = binary.BigEndian.Uint64(h[2:])
		c.Invalid = c.Invalid || length <= math.MaxUint16
	}
	if length > math.MaxInt64 || h[0]&bitsRSV23 != 0 || !c.count(h[0], length) {
		c.Invalid, c.Partial = true, true // there is no telling what this is
		return
	}
	c.Frames++
	c.Invalid = c.Invalid || c.mask == c.server // RFC 6455 section 5.1
	c.have, c.coded, c.remain = 0, 0, length
	c.inside = length > 0
}

// count counts a frame by its first octet; it returns false if its opcode is none.
func (c *Counter) count(first byte, length uint64) bool {
	final := first&bitFIN != 0
	if c.opcode&bitControl != 0 {
		c.Invalid = c.Invalid || !final || length > maxControl || first&bitRSV1 != 0 // RFC 6455 section 5.5
	}
	switch c.opcode {
	case opContinuation:
		c.Invalid = c.Invalid || !c.message || first&bitRSV1 != 0
		c.Fragments++
		c.message = !final
	case opText, opBinary:
		c.Invalid = c.Invalid || c.message
		c.Compressed = c.Compressed || first&bitRSV1 != 0
		c.Messages++
		c.message = !final
		if c.opcode == opText {
			c.Text++
		} else {
			c.Binary++
		}
	case opClose:
		c.Close++
		c.Invalid = c.Invalid || length == 1
	case opPing:
		c.Ping++
	case opPong:
		c.Pong++
	default:
		return false
	}
	return true
}

// payload reads on in a payload and returns what follows.
func (c *Counter) payload(data []byte) (rest []byte) {
	n := min(c.remain, uint64(len(data)))
	if c.opcode == opClose && c.CloseCode == 0 {
		c.closeCode(data[:n])
	}
	c.advance(n)
	return data[n:]
}

// closeCode takes the code from the beginning of a close frame's payload; its mask
// is still in the header.
func (c *Counter) closeCode(data []byte) {
	for _, b := range data {
		if c.coded == uint8(len(c.code)) {
			return
		}
		if c.mask {
			key := headerShort
			if length := c.header[1] &^ bitMask; length == 126 {
				key += 2
			} else if length == 127 {
				key += 8
			}
			b ^= c.header[key+int(c.coded)]
		}
		c.code[c.coded] = b
		if c.coded++; c.coded == uint8(len(c.code)) {
			c.CloseCode = binary.BigEndian.Uint16(c.code[:])
		}
	}
}

// advance goes over n octets of the payload.
func (c *Counter) advance(n uint64) {
	c.Octets += n
	c.remain -= n
	c.inside = c.remain > 0
}

// Missing says that the next n octets will not come.
func (c *Counter) Missing(n int64) {
	if c.Partial {
		return
	}
	within := min(uint64(n), c.remain)
	if !c.inside {
		within = 0
	}
	c.Gap += within
	if within > 0 && c.coded < uint8(len(c.code)) {
		c.coded = uint8(len(c.code)) // the code is not known
	}
	c.advance(within)
	c.Partial = uint64(n) > within
}
