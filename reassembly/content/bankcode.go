package content

import "bytes"

// ibanLengths are those of the countries in the IBAN registry (ISO 13616).
var ibanLengths = map[[2]byte]int{
	{'A', 'D'}: 24, {'A', 'E'}: 23, {'A', 'L'}: 28, {'A', 'T'}: 20, {'A', 'Z'}: 28, {'B', 'A'}: 20, {'B', 'E'}: 16, {'B', 'G'}: 22,
	{'B', 'H'}: 22, {'B', 'R'}: 29, {'B', 'Y'}: 28, {'C', 'H'}: 21, {'C', 'R'}: 22, {'C', 'Y'}: 28, {'C', 'Z'}: 24, {'D', 'E'}: 22,
	{'D', 'K'}: 18, {'D', 'O'}: 28, {'E', 'E'}: 20, {'E', 'G'}: 29, {'E', 'S'}: 24, {'F', 'I'}: 18, {'F', 'O'}: 18, {'F', 'R'}: 27,
	{'G', 'B'}: 22, {'G', 'E'}: 22, {'G', 'I'}: 23, {'G', 'L'}: 18, {'G', 'R'}: 27, {'G', 'T'}: 28, {'H', 'R'}: 21, {'H', 'U'}: 28,
	{'I', 'E'}: 22, {'I', 'L'}: 23, {'I', 'Q'}: 23, {'I', 'S'}: 26, {'I', 'T'}: 27, {'J', 'O'}: 30, {'K', 'W'}: 30, {'K', 'Z'}: 20,
	{'L', 'B'}: 28, {'L', 'C'}: 32, {'L', 'I'}: 21, {'L', 'T'}: 20, {'L', 'U'}: 20, {'L', 'V'}: 21, {'L', 'Y'}: 25, {'M', 'C'}: 27,
	{'M', 'D'}: 24, {'M', 'E'}: 22, {'M', 'K'}: 19, {'M', 'R'}: 27, {'M', 'T'}: 31, {'M', 'U'}: 30, {'N', 'L'}: 18, {'N', 'O'}: 15,
	{'P', 'K'}: 24, {'P', 'L'}: 28, {'P', 'S'}: 29, {'P', 'T'}: 25, {'Q', 'A'}: 29, {'R', 'O'}: 24, {'R', 'S'}: 22, {'S', 'A'}: 24,
	{'S', 'C'}: 31, {'S', 'D'}: 18, {'S', 'E'}: 24, {'S', 'I'}: 19, {'S', 'K'}: 24, {'S', 'M'}: 27, {'S', 'O'}: 23, {'S', 'T'}: 25,
	{'S', 'V'}: 28, {'T', 'L'}: 23, {'T', 'N'}: 24, {'T', 'R'}: 26, {'U', 'A'}: 29, {'V', 'A'}: 22, {'V', 'G'}: 24, {'X', 'K'}: 20,
}

// isIBAN reports whether an IBAN begins at i, in one word, which ends at end, or
// printed in groups of four.
func isIBAN(b []byte, i, end int) bool {
	want := ibanLengths[[2]byte(b[i:])]
	if want == 0 || i > 0 && bytes.IndexByte([]byte("-_."), b[i-1]) >= 0 {
		return false
	}
	if end-i == want {
		return endsAt(b, end) && checks97(b[i:end])
	}
	if end-i != 4 {
		return false
	}
	var whole [34]byte
	n := 0
	for n < want {
		if n > 0 {
			if i >= len(b) || b[i] != ' ' {
				return false
			}
			i++
		}
		size := min(4, want-n)
		if len(b)-i < size {
			return false
		}
		n += copy(whole[n:], b[i:i+size])
		i += size
	}
	return endsAt(b, i) && checks97(whole[:want])
}

// checks97 reports whether an IBAN's check digits are right: its first four
// characters moved to the end and letters taken for 10 to 35, it is 1 modulo 97
// (ISO 7064).
func checks97(b []byte) bool {
	sum := 0
	for i := range b {
		switch c := b[(i+4)%len(b)]; {
		case isDigit(c):
			sum = (sum*10 + int(c-'0')) % 97
		case 'A' <= c && c <= 'Z':
			sum = (sum*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return sum == 1
}

// isRouting reports whether nine digits are a routing number of the American
// Bankers Association: of a Federal Reserve district or the like, with a right
// check digit (weights 3, 7, 1).
func isRouting(d []byte) bool {
	district := int(d[0]-'0')*10 + int(d[1]-'0')
	if district > 12 && (district < 21 || district > 32) && (district < 61 || district > 72) && district != 80 {
		return false
	}
	sum, some := 0, false
	for i, c := range d {
		sum += int(c-'0') * [3]int{3, 7, 1}[i%3]
		some = some || c != '0'
	}
	return some && sum%10 == 0
}

// maxBefore is how far a value is from the end of its name at most, octets.
const maxBefore = 8

// nameBefore is the name of the member, parameter or element that a value at i
// is of, "" where none is near.
func nameBefore(b []byte, i int) []byte {
	end := i
	for end > 0 && i-end < maxBefore && octetKinds[b[end-1]] != octetWord {
		end--
	}
	begin := end
	for begin > 0 && end-begin < maxName && (octetKinds[b[begin-1]] == octetWord || b[begin-1] == '_' || b[begin-1] == '-' || b[begin-1] == '.') {
		begin--
	}
	if !bytes.ContainsAny(b[end:i], ":=>") {
		return nil
	}
	return b[begin:end]
}

// nameHolds reports whether a name holds one of lower-case words, whatever its
// case.
func nameHolds(name []byte, words ...string) bool {
	for _, word := range words {
		for i := 0; i+len(word) <= len(name); i++ {
			if equalFold(name[i:i+len(word)], word) {
				return true
			}
		}
	}
	return false
}
