package engine

// number is a keyed hash of 16 hex digits as a number; of anything else, which
// is cleartext, a hash. 0 is the empty string.
func number(s string) uint64 {
	if len(s) == 16 {
		high, ok := hexWord(s[:8])
		low, too := hexWord(s[8:])
		if ok && too {
			return max(high<<32|low, 1)
		}
	}
	if s == "" {
		return 0
	}
	h := uint64(14695981039346656037) // FNV-1a (RFC 9923)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return max(h, 1)
}

// hexWord reads eight hex digits at once; not ok if they are none.
func hexWord(s string) (n uint64, ok bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	w := uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
	// From here on each octet is added what makes its highest bit say "at least".
	ascii, lower := w&^highs, (w|0x20*ones)&^highs
	digits := (ascii + (0x80-'0')*ones) &^ (ascii + (0x80-'9'-1)*ones)
	letters := (lower + (0x80-'a')*ones) &^ (lower + (0x80-'f'-1)*ones)
	if (digits|letters)&^w&highs != highs {
		return 0, false
	}
	w = w&(0x0f*ones) + w>>6&ones*9 // of a letter, bit 6 is set
	w = (w | w>>4) & 0x00ff00ff00ff00ff
	w = (w | w>>8) & 0x0000ffff0000ffff
	return (w | w>>16) & 0xffffffff, true
}
