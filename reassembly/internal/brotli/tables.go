package brotli

// number is a code for numbers: base and the extra bits that are added.
type number struct {
	base uint16
	bits uint8
}

// The numbers of RFC 7932 sections 5 and 6.
var (
	insertLengths = [24]number{
		{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 1}, {8, 1}, {10, 2}, {14, 2}, {18, 3}, {26, 3},
		{34, 4}, {50, 4}, {66, 5}, {98, 5}, {130, 6}, {194, 7}, {322, 8}, {578, 9}, {1090, 10}, {2114, 12}, {6210, 14}, {22594, 24},
	}
	copyLengths = [24]number{
		{2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 1}, {12, 1}, {14, 2}, {18, 2},
		{22, 3}, {30, 3}, {38, 4}, {54, 4}, {70, 5}, {102, 5}, {134, 6}, {198, 7}, {326, 8}, {582, 9}, {1094, 10}, {2118, 24},
	}
	blockCounts = [lengthAlphabet]number{
		{1, 2}, {5, 2}, {9, 2}, {13, 2}, {17, 3}, {25, 3}, {33, 3}, {41, 3}, {49, 4}, {65, 4}, {81, 4}, {97, 4}, {113, 5},
		{145, 5}, {177, 5}, {209, 5}, {241, 6}, {305, 6}, {369, 7}, {497, 8}, {753, 9}, {1265, 10}, {2289, 11}, {4337, 12}, {8433, 13}, {16625, 24},
	}
)

// cells are the first insert and copy code of each 64 insert-and-copy codes.
var cells = [11]struct{ insert, copy uint16 }{
	{0, 0}, {0, 8}, {0, 0}, {0, 8}, {8, 0}, {8, 8}, {0, 16}, {16, 0}, {8, 16}, {16, 8}, {16, 16},
}

// nearby are the distance codes 4 to 15: one of the last distances, and a
// little more or less.
var nearby = [12]struct{ which, add int }{
	{0, -1}, {0, 1}, {0, -2}, {0, 2}, {0, -3}, {0, 3}, {1, -1}, {1, 1}, {1, -2}, {1, 2}, {1, -3}, {1, 3},
}

// contextOf is the context of a literal (section 7.1) by the two octets before
// it.
func contextOf(mode, p1, p2 uint8) uint8 {
	switch mode {
	case 0:
		return p1 & 63
	case 1:
		return p1 >> 2
	case 2:
		return utf8Context[p1] | utf8Before[p2]
	}
	return signedContext[p1]<<3 | signedContext[p2]
}

var utf8Context = func() (t [256]uint8) {
	copy(t[:], []uint8{
		0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		8, 12, 16, 12, 12, 20, 12, 16, 24, 28, 12, 12, 32, 12, 36, 12, 44, 44, 44, 44, 44, 44, 44, 44, 44, 44, 32, 32, 24, 40, 28, 12,
		12, 48, 52, 52, 52, 48, 52, 52, 52, 48, 52, 52, 52, 52, 52, 48, 52, 52, 52, 52, 52, 48, 52, 52, 52, 52, 52, 24, 12, 28, 12, 12,
		12, 56, 60, 60, 60, 56, 60, 60, 60, 56, 60, 60, 60, 60, 60, 56, 60, 60, 60, 60, 60, 56, 60, 60, 60, 60, 60, 24, 12, 28, 12, 0,
	})
	for c := 128; c < 256; c++ {
		t[c] = uint8(c&1 | c>>5&2)
	}
	return t
}()

var utf8Before = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 224, '0' <= c && c <= '9', 'A' <= c && c <= 'Z':
			t[c] = 2
		case 'a' <= c && c <= 'z':
			t[c] = 3
		case ' ' < c && c < 127:
			t[c] = 1
		}
	}
	return t
}()

var signedContext = func() (t [256]uint8) {
	for c := range t {
		for _, from := range [...]int{1, 16, 64, 128, 192, 240, 255} {
			if c >= from {
				t[c]++
			}
		}
	}
	return t
}()
