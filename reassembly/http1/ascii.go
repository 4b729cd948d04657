package http1

import "offpath/reassembly/message"

// tchar are the octets of a token (RFC 9110 section 5.6.2).
var tchar = func() (table [256]bool) {
	for c := byte('0'); c <= 'z'; c++ {
		table[c] = '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		table[c] = true
	}
	return table
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if !tchar[c] {
			return false
		}
	}
	return len(b) > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func trim(b []byte) []byte {
	if len(b) > 1 && b[0] == ' ' && b[1] > ' ' && b[len(b)-1] > ' ' {
		return b[1:] // as nearly every value is sent
	}
	return trimRight(trimLeft(b))
}

// trimCR cuts the CR before an LF off a line, and says whether there was one.
func trimCR(line []byte) ([]byte, bool) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1], true
	}
	return line, false
}

func equalFold(b []byte, lower string) bool { return message.EqualFold(b, lower) }
