package http1

import (
	"bytes"
	"math"

	"offpath/reassembly"
)

// framing is what a head says of how long its body is.
type framing struct {
	anomalies reassembly.Anomalies
	length    int64 // Content-Length, or one of the below
	hosts     int   // Host fields
	lines     int   // lines of the head that end in CR LF, start line and empty line among them
	coded     bool  // Transfer-Encoding is there
	chunked   bool  // and ends in chunked
	upgrade   bool  // Upgrade is there
}

// Values of framing.length that are no length.
const (
	lengthNone    int64 = -1 // no Content-Length
	lengthInvalid int64 = -2 // one that is no number
	lengthChunked int64 = -3 // none, but chunks announced
)

// The kinds of fields that decide framing; 0 is any other.
const (
	fieldHost uint8 = iota + 1
	fieldUpgrade
	fieldContentLength
	fieldTransferEncoding
)

// framingKind is the kind of the fields of a name.
func framingKind(name []byte) uint8 {
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			return fieldHost
		}
	case len("upgrade"):
		if equalFold(name, "upgrade") {
			return fieldUpgrade
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			return fieldContentLength
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			return fieldTransferEncoding
		}
	}
	return 0
}

// frame takes note of a field's value if the field is of a kind that decides
// framing.
func (r *Reader) frame(kind uint8, value []byte) {
	switch kind {
	case fieldHost:
		if r.hosts++; r.hosts > 1 {
			r.anomalies |= reassembly.AnomalyDuplicateHost
		}
	case fieldUpgrade:
		r.upgrade = true
	case fieldContentLength:
		r.contentLength(value)
	case fieldTransferEncoding:
		r.transferEncoding(value)
	}
}

// contentLength takes a Content-Length; a list of equal numbers is one number
// (RFC 9112 section 6.3).
func (r *Reader) contentLength(value []byte) {
	for rest, more := value, true; more; {
		var part []byte
		part, rest, more = bytes.Cut(rest, []byte{','})
		n := number(trim(part))
		switch {
		case n == lengthInvalid:
			r.anomalies |= reassembly.AnomalyInvalidContentLength
			if r.length == lengthNone {
				r.length = n
			}
		case r.length == lengthNone:
			r.length = n
		case r.length != n:
			r.anomalies |= reassembly.AnomalyConflictingContentLength
		}
	}
}

// number reads decimal digits, or returns lengthInvalid.
func number(digits []byte) int64 {
	if len(digits) == 0 {
		return lengthInvalid
	}
	n := int64(0)
	for _, c := range digits {
		if !isDigit(c) || n > (math.MaxInt64-int64(c-'0'))/10 {
			return lengthInvalid
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// transferEncoding takes a Transfer-Encoding; of several the last one's last
// coding decides.
func (r *Reader) transferEncoding(value []byte) {
	r.coded = true
	r.chunked = equalFold(trim(value[bytes.LastIndexByte(value, ',')+1:]), "chunked")
}

// bodyState decides how the body is delimited (RFC 9112 section 6.3), and how
// long it is if that is known.
func (r *Reader) bodyState(response bool) (next state, length int64) {
	if r.coded {
		if r.length != lengthNone {
			r.anomalies |= reassembly.AnomalyContentLengthAndChunked
		}
		if !r.chunked {
			r.anomalies |= reassembly.AnomalyUnknownTransferCoding
		}
	}
	switch {
	case response && r.doubtful():
		if r.chunked && r.length < 0 {
			return stateProbe, lengthChunked
		}
		return stateProbe, r.length
	case r.chunked:
		return stateChunkSize, 0
	case r.length > 0:
		return stateLength, r.length
	case r.length == 0 || !response:
		return stateEnd, 0
	}
	return stateToClose, 0
}

// chunkSize reads a chunk-size line without its end (RFC 9112 section 7.1);
// extensions are skipped. White space before the number and anything behind it
// is an anomaly, yet the size is read, as clients do; ok is false without one.
func chunkSize(line []byte) (size int64, anomaly reassembly.Anomalies, ok bool) {
	number := bytes.TrimLeft(line, " \t\r")
	if len(number) < len(line) {
		anomaly = reassembly.AnomalyInvalidChunk
	}
	i := 0
	for ; i < len(number); i++ {
		digit := hexDigit(number[i])
		if digit < 0 {
			break
		}
		if size > math.MaxInt64>>4 {
			return 0, reassembly.AnomalyChunkSizeOverflow, false
		}
		size = size<<4 | digit
	}
	if rest := trimLeft(number[i:]); len(rest) > 0 && rest[0] != ';' {
		anomaly = reassembly.AnomalyInvalidChunk
	}
	if i == 0 {
		return 0, reassembly.AnomalyInvalidChunk, false
	}
	return size, anomaly, true
}

// hexDigit is the value of a hexadecimal digit, or negative.
func hexDigit(c byte) int64 {
	switch {
	case isDigit(c):
		return int64(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10
	}
	return -1
}
