package http2

// Opens reports whether data begins with the frame that a server begins with: a
// SETTINGS frame that is no acknowledgement (RFC 9113 section 3.4).
func Opens(data []byte) bool {
	if len(data) < headerOctets {
		return false
	}
	f := frameFrom(data)
	return f.kind == kindSettings && f.flags == 0 && f.stream == 0 && f.length%6 == 0 && f.length <= defaultMaxFrame
}
