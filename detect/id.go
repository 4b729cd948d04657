package detect

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// NewID is the id of the finding or verdict that rule made about a subject at
// an event time (ns since the epoch): the same decision has the same id in
// every run. It is 16 hex digits, 64 bits of which neither 32-bit half is 0,
// since the stick tables of HAProxy 2.6 hold no wider scalar and there 0 means
// none.
func NewID(rule string, s Subject, time int64) string {
	h := sha256.New()
	for _, part := range [...]string{rule, prefixText(s), s.Fingerprint, s.UserAgent, s.JA4, s.Endpoint, s.Domain, s.Session, s.UserHash} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(time))
	h.Write(t[:])
	sum := h.Sum(nil)
	upper, lower := binary.BigEndian.Uint32(sum), binary.BigEndian.Uint32(sum[4:])
	return fmt.Sprintf("%08x%08x", max(upper, 1), max(lower, 1))
}

func prefixText(s Subject) string {
	if !s.Client.IsValid() {
		return ""
	}
	return s.Client.String()
}
