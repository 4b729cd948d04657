package endpoint

import "strconv"

// parameter is the segment of a key that stands for a value.
const parameter = "{id}"

const maxNoun = 40 // octets; a longer segment is no noun

// appendPath appends the published form of a path's segments to dst: each
// parameter is called after the noun before it, a second one of the same name
// has a number.
func appendPath(dst []byte, segments []string) []byte {
	if len(segments) == 0 {
		return append(dst, '/')
	}
	var named [maxDepth]string
	used := named[:0]
	for i, segment := range segments {
		dst = appendSlash(dst, segment)
		if segment != parameter {
			dst = append(dst, segment...)
			continue
		}
		name := "id"
		if i > 0 && segments[i-1] != parameter {
			if noun := noun(segments[i-1]); noun != "" {
				name = noun + "Id"
			}
		}
		same := 0
		for _, other := range used {
			if other == name {
				same++
			}
		}
		used = append(used, name)
		dst = append(dst, '{')
		dst = append(dst, name...)
		if same > 0 {
			dst = strconv.AppendInt(dst, int64(same+1), 10)
		}
		dst = append(dst, '}')
	}
	return dst
}

// noun is a segment as the beginning of a parameter's name, in the singular and
// in camelCase: bank-accounts is bankAccount. "" of what is none: versions, and
// what holds anything but ASCII letters, digits, dashes and underscores.
func noun(segment string) string {
	if len(segment) > maxNoun || version(segment) || segment == "api" || segment == "apis" || segment == "rest" {
		return ""
	}
	name := make([]byte, 0, maxNoun)
	hump := false
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && len(name) > 0:
			switch {
			case len(name) == 0 && 'A' <= c && c <= 'Z':
				c |= 0x20
			case hump && 'a' <= c && c <= 'z':
				c &^= 0x20
			}
			name = append(name, c)
			hump = false
		case c == '-' || c == '_':
			hump = len(name) > 0
		default:
			return ""
		}
	}
	return singular(string(name))
}

// singular is the singular of an English noun, by its ending.
func singular(s string) string {
	ends := func(ending string) bool {
		return len(s) > len(ending)+1 && s[len(s)-len(ending):] == ending
	}
	switch {
	case ends("ies"):
		return s[:len(s)-3] + "y"
	case ends("sses"), ends("xes"), ends("ches"), ends("shes"), ends("zzes"):
		return s[:len(s)-2]
	case ends("ss"), ends("us"), ends("is"), ends("news"):
		return s
	case ends("s"):
		return s[:len(s)-1]
	}
	return s
}

// version reports whether a segment is a version: v1, v2.0, v1beta2.
func version(segment string) bool {
	return len(segment) >= 2 && segment[0]|0x20 == 'v' && '0' <= segment[1] && segment[1] <= '9'
}

// appendSlash appends what separates a node's segment from the one before it:
// nothing if it is the end of the same, a custom method or an extension.
func appendSlash(dst []byte, segment string) []byte {
	if segment[0] == ':' || segment[0] == '.' && format(segment[1:]) {
		return dst
	}
	return append(dst, '/')
}
