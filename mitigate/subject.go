package mitigate

import "strings"

// Domain is a domain as requests are named by it: ASCII letters in lower case, without the
// dot of the root. What is not ASCII stays as it is.
func Domain(s string) string { return strings.TrimSuffix(lower(s), ".") }

// Endpoint is `METHOD host/path` with the host as [Domain] has it.
func Endpoint(s string) string {
	method, rest, ok := strings.Cut(s, " ")
	slash := strings.IndexByte(rest, '/')
	if !ok || slash < 0 {
		return s
	}
	return method + " " + Domain(rest[:slash]) + rest[slash:]
}

// lower lowers ASCII letters and nothing else.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
