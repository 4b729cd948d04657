// Package endpoint names the endpoint that a request goes to:
// METHOD host/path/{template}, with #operation where there is one.
//
// A name is a pure function of the request. Only segments that are plainly
// identifiers by their shape (integers, UUIDs, hex strings, ISO dates, long
// random tokens) become {id}; everything else is taken literally, so that what
// is published keeps its meaning when templates are learned. Names are bounded
// whatever a client sends. No state, no allocation.
package endpoint

import "strings"

// Limits of a name. What is longer is cut or replaced by a placeholder.
const (
	maxHost      = 253 // octets (RFC 1035 section 2.3.4, as text)
	maxMethod    = 32  // octets
	maxSegment   = 64  // octets; a longer segment is an {id}
	minMixed     = 8   // octets; a shorter segment is an {id} only if all of it is digits
	maxSegments  = 16  // further ones are {rest}
	maxOperation = 128 // octets
)

// AppendName appends the name of an endpoint to dst: host in lower case without
// the dot of the root, the path without empty segments, without ;parameters
// (RFC 3986 section 3.3) and without dot segments (section 5.2.4).
func AppendName(dst []byte, method, host, path, operation string) []byte {
	dst = append(dst, clip(method, maxMethod)...)
	dst = append(dst, ' ')
	dst = appendLower(dst, clip(strings.TrimSuffix(host, "."), maxHost))
	dst, plain := appendPlain(dst, path)
	if !plain {
		dst = appendTemplate(dst, path)
	}
	if operation != "" {
		dst = append(dst, '#')
		dst = append(dst, clip(operation, maxOperation)...)
	}
	return dst
}

// appendTemplate appends the template of any path.
func appendTemplate(dst []byte, path string) []byte {
	if path == "*" { // OPTIONS * (RFC 9112 section 3.2.4)
		return append(dst, '*')
	}
	segments := 0
	var starts [maxSegments]int // in dst
	for path != "" {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		if parameter := strings.IndexByte(segment, ';'); parameter >= 0 {
			segment = segment[:parameter]
		}
		if dots := Dots(segment); segment == "" || dots > 0 {
			if dots == 2 && segments > 0 {
				segments--
				dst = dst[:starts[segments]]
			}
			continue
		}
		if segments == maxSegments {
			return append(dst, "/{rest}"...)
		}
		starts[segments] = len(dst)
		segments++
		dst = append(dst, '/')
		if Identifier(segment) {
			dst = append(dst, "{id}"...)
		} else {
			dst = append(dst, segment...)
		}
	}
	if segments == 0 {
		dst = append(dst, '/')
	}
	return dst
}

// Dots is the number of dots of a dot segment, 1 or 2, each of which may be
// percent-encoded (RFC 3986 section 6.2.2); 0 of any other segment.
func Dots(segment string) int {
	for n := 0; n <= 2; n++ {
		switch {
		case segment == "":
			return n
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[:2] == "%2" && segment[2]|0x20 == 'e':
			segment = segment[3:]
		default:
			return 0
		}
	}
	return 0
}

// Identifier reports whether a path segment is an identifier by its shape
// alone: digits, a UUID, hex of 8 digits or more, an ISO date, a random token
// of 16 characters or more, or anything too long to be a word.
func Identifier(segment string) bool {
	if len(segment) > maxSegment {
		return true
	}
	var digits, hex, upper, lower, dashes, other int
	for i := 0; i < len(segment); i++ {
		switch c := segment[i]; {
		case '0' <= c && c <= '9':
			digits++
			hex++
		case 'a' <= c && c <= 'f':
			lower++
			hex++
		case 'A' <= c && c <= 'F':
			upper++
			hex++
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case c == '-' || c == '_':
			dashes++
		default:
			other++
		}
	}
	n := len(segment)
	switch {
	case other > 0 || digits == 0:
		return false
	case digits == n:
		return true
	case hex == n:
		return n >= minMixed
	case n == 36 && hex == 32:
		return segment[8] == '-' && segment[13] == '-' && segment[18] == '-' && segment[23] == '-'
	case n == 10 && digits == 8:
		return segment[4] == '-' && segment[7] == '-'
	}
	// A random token mixes its alphabet. A name with a number at its end, such
	// as signInWithPassword2, has few digits for its length.
	return n >= 16 && dashes <= 2 && digits*8 >= n && digits >= 3 && (upper+lower) >= 3
}

func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
