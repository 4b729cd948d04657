package endpoint

import "strings"

// Limits of a key. What is longer is cut or replaced by a placeholder.
const (
	maxHost      = 253 // octets (RFC 1035 section 2.3.4, as text)
	maxMethod    = 32  // octets
	maxSegment   = 64  // octets; a longer segment is an {id}
	minMixed     = 8   // octets; a shorter segment is an {id} only if all of it is digits
	maxSegments  = 16  // further ones are {rest}
	maxOperation = 128 // octets
)

// appendKey appends what a request is looked up by to dst: its method, its host
// in lower case without the dot of the root, its path without empty segments,
// without ;parameters (RFC 3986 section 3.3) and without dot segments (section
// 5.2.4), its operation. What is an identifier by its shape is {id}. A pure
// function, bounded whatever a client sends, that allocates nothing.
func appendKey(dst []byte, method, host, path, operation string) []byte {
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
	segments, base := 0, len(dst)
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
		if n := stem(segment); Identifier(segment[:n]) && !versioned(string(dst[base:starts[segments-1]+1]), segment) {
			dst = append(dst, parameter...)
			dst = append(dst, segment[n:]...)
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

func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
