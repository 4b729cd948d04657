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
// without ;parameters (RFC 3986 section 3.3), without dot segments (section
// 5.2.4) and with unreserved octets as they are ([Unreserved]), its operation. What
// is an identifier by its shape is {id}. A pure function, bounded whatever a client
// sends, that allocates nothing but for a path with percent-encoding.
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
	path = Unreserved(path)
	for path != "" {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		if parameter := strings.IndexByte(segment, ';'); parameter >= 0 {
			segment = segment[:parameter]
		}
		if segment == "" || segment == "." || segment == ".." {
			if segment == ".." && segments > 0 {
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

// Unreserved decodes those octets of a path whose percent-encoding means nothing: letters,
// digits, "-", ".", "_" and "~" (RFC 3986 section 6.2.2.2). Servers route /%6Cogin as they
// do /login. It allocates only where there is one.
func Unreserved(path string) string {
	at := strings.IndexByte(path, '%')
	if at < 0 {
		return path
	}
	var decoded []byte
	done := 0
	for ; at+2 < len(path); at++ {
		if path[at] != '%' {
			continue
		}
		high, low := hexDigit(path[at+1]), hexDigit(path[at+2])
		if high > 15 || low > 15 || !unreserved(high<<4|low) {
			continue
		}
		decoded = append(append(decoded, path[done:at]...), high<<4|low)
		at += 2
		done = at + 1
	}
	if done == 0 {
		return path
	}
	return string(append(decoded, path[done:]...))
}

// hexDigit is the value of a hexadecimal digit; more than 15 of another octet.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return (c | 0x20) - 'a' + 10
	}
	return 0xff
}

func unreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '.' || c == '_' || c == '~'
}

func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
