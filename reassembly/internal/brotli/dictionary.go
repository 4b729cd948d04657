package brotli

import _ "embed"

// dictionary is RFC 7932 appendix A.
//
//go:embed dictionary.bin
var dictionary string

// Bounds of the words of the dictionary, and of what a transform makes of one,
// octets.
const (
	minWord        = 4
	maxWord        = 24
	maxTransformed = 64
)

// wordBits is the binary logarithm of the number of words of each length.
var wordBits = [maxWord + 1]uint{4: 10, 10, 11, 11, 10, 10, 10, 10, 10, 9, 9, 8, 7, 7, 8, 7, 7, 6, 6, 5, 5}

// wordOffsets is where the words of each length begin.
var wordOffsets = func() (t [maxWord + 1]int) {
	at := 0
	for n := minWord; n <= maxWord; n++ {
		t[n] = at
		at += n << wordBits[n]
	}
	return t
}()

func dictionaryWord(length, index int) string {
	return dictionary[wordOffsets[length]+length*index:][:length]
}

// transform is one of the transforms of a word (appendix B).
type transform struct {
	prefix string
	kind   uint8
	suffix string
}

// The kinds; the number of octets that are left out is added to the latter two.
const (
	identity uint8 = iota
	upperFirst
	upperAll
	omitFirst = 16
	omitLast  = 32
)

func (t *transform) append(dst []byte, word string) []byte {
	dst = append(dst, t.prefix...)
	switch from := len(dst); {
	case t.kind >= omitLast:
		dst = append(dst, word[:max(0, len(word)-int(t.kind-omitLast))]...)
	case t.kind >= omitFirst:
		dst = append(dst, word[min(len(word), int(t.kind-omitFirst)):]...)
	case t.kind == upperFirst:
		dst = append(dst, word...)
		upper(dst[from:])
	case t.kind == upperAll:
		dst = append(dst, word...)
		for rest := dst[from:]; len(rest) > 0; {
			rest = rest[upper(rest):]
		}
	default:
		dst = append(dst, word...)
	}
	return append(dst, t.suffix...)
}

// upper makes the character that b begins with a capital, as far as the RFC's
// simple model goes, and returns how many octets it has.
func upper(b []byte) int {
	switch {
	case b[0] < 0xc0:
		if 'a' <= b[0] && b[0] <= 'z' {
			b[0] ^= 32
		}
		return 1
	case b[0] < 0xe0:
		if len(b) > 1 {
			b[1] ^= 32
		}
		return min(2, len(b))
	}
	if len(b) > 2 {
		b[2] ^= 5
	}
	return min(3, len(b))
}

var transforms = [121]transform{
	{"", identity, ""}, {"", identity, " "}, {" ", identity, " "}, {"", omitFirst + 1, ""},
	{"", upperFirst, " "}, {"", identity, " the "}, {" ", identity, ""}, {"s ", identity, " "},
	{"", identity, " of "}, {"", upperFirst, ""}, {"", identity, " and "}, {"", omitFirst + 2, ""},
	{"", omitLast + 1, ""}, {", ", identity, " "}, {"", identity, ", "}, {" ", upperFirst, " "},
	{"", identity, " in "}, {"", identity, " to "}, {"e ", identity, " "}, {"", identity, "\""},
	{"", identity, "."}, {"", identity, "\">"}, {"", identity, "\n"}, {"", omitLast + 3, ""},
	{"", identity, "]"}, {"", identity, " for "}, {"", omitFirst + 3, ""}, {"", omitLast + 2, ""},
	{"", identity, " a "}, {"", identity, " that "}, {" ", upperFirst, ""}, {"", identity, ". "},
	{".", identity, ""}, {" ", identity, ", "}, {"", omitFirst + 4, ""}, {"", identity, " with "},
	{"", identity, "'"}, {"", identity, " from "}, {"", identity, " by "}, {"", omitFirst + 5, ""},
	{"", omitFirst + 6, ""}, {" the ", identity, ""}, {"", omitLast + 4, ""}, {"", identity, ". The "},
	{"", upperAll, ""}, {"", identity, " on "}, {"", identity, " as "}, {"", identity, " is "},
	{"", omitLast + 7, ""}, {"", omitLast + 1, "ing "}, {"", identity, "\n\t"}, {"", identity, ":"},
	{" ", identity, ". "}, {"", identity, "ed "}, {"", omitFirst + 9, ""}, {"", omitFirst + 7, ""},
	{"", omitLast + 6, ""}, {"", identity, "("}, {"", upperFirst, ", "}, {"", omitLast + 8, ""},
	{"", identity, " at "}, {"", identity, "ly "}, {" the ", identity, " of "}, {"", omitLast + 5, ""},
	{"", omitLast + 9, ""}, {" ", upperFirst, ", "}, {"", upperFirst, "\""}, {".", identity, "("},
	{"", upperAll, " "}, {"", upperFirst, "\">"}, {"", identity, "=\""}, {" ", identity, "."},
	{".com/", identity, ""}, {" the ", identity, " of the "}, {"", upperFirst, "'"}, {"", identity, ". This "},
	{"", identity, ","}, {".", identity, " "}, {"", upperFirst, "("}, {"", upperFirst, "."},
	{"", identity, " not "}, {" ", identity, "=\""}, {"", identity, "er "}, {" ", upperAll, " "},
	{"", identity, "al "}, {" ", upperAll, ""}, {"", identity, "='"}, {"", upperAll, "\""},
	{"", upperFirst, ". "}, {" ", identity, "("}, {"", identity, "ful "}, {" ", upperFirst, ". "},
	{"", identity, "ive "}, {"", identity, "less "}, {"", upperAll, "'"}, {"", identity, "est "},
	{" ", upperFirst, "."}, {"", upperAll, "\">"}, {" ", identity, "='"}, {"", upperFirst, ","},
	{"", identity, "ize "}, {"", upperAll, "."}, {"\u00a0", identity, ""}, {" ", identity, ","},
	{"", upperFirst, "=\""}, {"", upperAll, "=\""}, {"", identity, "ous "}, {"", upperAll, ", "},
	{"", upperFirst, "='"}, {" ", upperFirst, ","}, {" ", upperAll, "=\""}, {" ", upperAll, ", "},
	{"", upperAll, ","}, {"", upperAll, "("}, {"", upperAll, ". "}, {" ", upperAll, "."},
	{"", upperAll, "='"}, {" ", upperAll, ". "}, {" ", upperFirst, "=\""}, {" ", upperAll, "='"},
	{" ", upperFirst, "='"},
}
