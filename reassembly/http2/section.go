package http2

import (
	"bytes"
	"math"
	"strconv"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// Bounds of a header section.
const (
	MaxHead   = 64 << 10 // octets of a header block, and of the names and values in it
	MaxFields = 256      // fields kept of it
)

// section is a header section or trailer section as decoded.
type section struct {
	fields    []message.Field // views into array
	octets    int             // of their names and values
	unknown   int             // fields left out because the table is not known
	anomalies reassembly.Anomalies
	whole     bool // it was decoded to its end

	special [rolePseudo]int // which fields are pseudo-header fields, by role, counted from 1; 0: none
	method  int             // which field is the head's method, likewise
	target  int             // which field is its target, likewise
	host    []byte
	length  int64 // Content-Length; -1: none
	status  int   // 0: not known
	grpc    int   // grpc-status; reassembly.Unknown: none
	isGRPC  bool  // by Content-Type

	regular bool // a field that is no pseudo-header field was seen
	over    bool // a field was beyond the bounds: what follows is not read
	array   [MaxFields]message.Field
}

func (s *section) reset() {
	s.fields, s.octets, s.unknown, s.anomalies = s.array[:0], 0, 0, 0
	s.special, s.method, s.target, s.host = [rolePseudo]int{}, 0, 0, nil
	s.length, s.status, s.grpc = -1, 0, reassembly.Unknown
	s.isGRPC, s.regular, s.over, s.whole = false, false, false, false
}

// begun reports whether a field was read.
func (s *section) begun() bool { return len(s.fields) > 0 || s.unknown > 0 }

// room reports whether a field is within the bounds, as are all before it.
func (s *section) room(f *field) bool {
	switch {
	case s.over:
	case len(s.fields) == MaxFields:
		s.anomalies |= reassembly.AnomalyTooManyHeaders
		s.over = true
	case s.octets+len(f.name)+len(f.value) > MaxHead:
		s.anomalies |= reassembly.AnomalyHeadTooLarge
		s.over = true
	}
	return !s.over
}

// add takes the next field.
func (s *section) add(f *field) {
	s.octets += len(f.name) + len(f.value)
	s.anomalies |= f.anomalies
	s.fields = append(s.fields, message.Field{Name: f.name, Value: f.value})
	if f.role.pseudo() {
		s.pseudo(f)
		return
	}
	s.regular = true
	switch f.role {
	case roleHost:
		s.host = f.value
	case roleContentLength:
		s.contentLength(f.value)
	case roleContentType:
		s.isGRPC = s.isGRPC || isGRPC(f.value)
	case roleTE:
		if !message.EqualFold(f.value, "trailers") {
			s.anomalies |= reassembly.AnomalyInvalidHeader
		}
	case roleConnection:
		s.anomalies |= reassembly.AnomalyInvalidHeader
	case roleGRPCStatus:
		if n, err := strconv.ParseUint(string(f.value), 10, 16); err == nil {
			s.grpc = int(n)
		}
	}
}

// pseudo takes a pseudo-header field. The first of a name counts.
func (s *section) pseudo(f *field) {
	again := f.role == rolePseudo || s.special[f.role] > 0
	if s.regular || again {
		s.anomalies |= reassembly.AnomalyInvalidPseudoHeader
	}
	if again {
		return
	}
	s.special[f.role] = len(s.fields)
	if f.role == roleStatus {
		if len(f.value) == 3 && '1' <= f.value[0] && f.value[0] <= '9' && isDigit(f.value[1]) && isDigit(f.value[2]) {
			s.status = int(f.value[0]-'0')*100 + int(f.value[1]-'0')*10 + int(f.value[2]-'0')
		} else {
			s.anomalies |= reassembly.AnomalyInvalidStatusLine
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// contentLength takes a Content-Length; the first counts.
func (s *section) contentLength(value []byte) {
	n, err := strconv.ParseUint(string(value), 10, 63)
	switch {
	case err != nil || !isDigit(value[0]):
		s.anomalies |= reassembly.AnomalyInvalidContentLength
	case s.length < 0:
		s.length = int64(min(n, math.MaxInt64))
	case s.length != int64(n):
		s.anomalies |= reassembly.AnomalyConflictingContentLength
	}
}

// isGRPC reports whether a media type is that of gRPC over HTTP/2; gRPC-Web has
// its trailers in the body.
func isGRPC(mediaType []byte) bool {
	const grpc = "application/grpc"
	if len(mediaType) < len(grpc) || !message.EqualFold(mediaType[:len(grpc)], grpc) {
		return false
	}
	return len(mediaType) == len(grpc) || mediaType[len(grpc)] == '+' || mediaType[len(grpc)] == ';'
}

// value returns the value of a field that is counted from 1; nil of none.
func (s *section) value(i int) []byte {
	if i == 0 {
		return nil
	}
	return s.fields[i-1].Value
}

// has reports whether there is a pseudo-header field.
func (s *section) has(r role) bool { return s.special[r] > 0 }

// response makes a response's head of the section, and says what is irregular.
func (s *section) response() message.Head {
	if s.has(roleMethod) || s.has(rolePath) || s.has(roleScheme) || s.has(roleAuthority) || s.has(roleProtocol) ||
		!s.has(roleStatus) && s.complete() {
		s.anomalies |= reassembly.AnomalyInvalidPseudoHeader
	}
	return message.Head{Version: "2", Status: s.status, Fields: s.fields}
}

// request makes a request's head of the section, and says what is irregular.
func (s *section) request() message.Head {
	s.method, s.target = s.special[roleMethod], s.special[rolePath]
	connect := string(s.value(s.method)) == "CONNECT"
	if connect && !s.has(roleProtocol) && s.complete() {
		s.target = s.special[roleAuthority] // RFC 9113 section 8.5
	}
	h := message.Head{Version: "2", Method: s.value(s.method), Target: s.value(s.target), Fields: s.fields}
	authority := s.value(s.special[roleAuthority])
	if s.has(roleStatus) || s.complete() &&
		(len(h.Method) == 0 || len(h.Target) == 0 || !connect && !s.has(roleScheme)) {
		s.anomalies |= reassembly.AnomalyInvalidPseudoHeader
	}
	if len(h.Method) > 0 && !isToken(h.Method) || !isTarget(h.Target) {
		s.anomalies |= reassembly.AnomalyInvalidRequestLine
	}
	switch {
	case authority != nil && s.host != nil && !bytes.EqualFold(authority, s.host):
		s.anomalies |= reassembly.AnomalyDuplicateHost
	case authority == nil && s.host == nil && s.complete():
		s.anomalies |= reassembly.AnomalyMissingHost
	}
	return h
}

// complete reports whether what is not there was not sent.
func (s *section) complete() bool {
	return s.whole && s.unknown == 0 &&
		s.anomalies&(reassembly.AnomalyTooManyHeaders|reassembly.AnomalyHeadTooLarge) == 0
}

// isToken reports whether b is a token (RFC 9110 section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !nameOctet[c] && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(b) > 0
}

// isTarget reports whether b could stand in a request line.
func isTarget(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
