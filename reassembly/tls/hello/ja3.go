package hello

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
)

// AppendJA3 appends the JA3 string: version, cipher suites, extensions, groups
// and point formats as decimal numbers, GREASE left out. A hello in the form of
// SSL 2.0 has none.
func (c *Client) AppendJA3(dst []byte) []byte {
	if c.SSLv2 {
		return dst
	}
	dst = strconv.AppendUint(dst, uint64(c.LegacyVersion), 10)
	for _, list := range [...][]uint16{c.Suites, c.Extensions, c.Groups} {
		dst = append(dst, ',')
		first := true
		for _, v := range list {
			if GREASE(v) {
				continue
			}
			if !first {
				dst = append(dst, '-')
			}
			dst, first = strconv.AppendUint(dst, uint64(v), 10), false
		}
	}
	dst = append(dst, ',')
	for i, v := range c.PointFormats {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = strconv.AppendUint(dst, uint64(v), 10)
	}
	return dst
}

// JA3 returns the MD5 of the JA3 string as 32 hex digits; "" if there is none.
func (c *Client) JA3() string {
	var space [1024]byte
	text := c.AppendJA3(space[:0])
	if len(text) == 0 {
		return ""
	}
	sum := md5.Sum(text)
	return hex.EncodeToString(sum[:])
}
