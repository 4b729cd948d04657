package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// sensitiveRequest notes which classes of sensitive data a request holds.
func (e *Extractor) sensitiveRequest(tx *reassembly.Transaction, head *message.Head) {
	tx.Sensitive.Add(reassembly.PlaceRequestHeader, fieldClasses(head))
	e.value = appendUnescaped(e.value[:0], head.Target)
	tx.Sensitive.Add(reassembly.PlaceRequestTarget, classesIn(e.value))
	tx.Sensitive.Add(reassembly.PlaceRequestBody, e.bodyClasses(tx.Request.Signature.Media))
}

// sensitiveResponse does likewise for a response.
func (e *Extractor) sensitiveResponse(tx *reassembly.Transaction, head *message.Head) {
	tx.Sensitive.Add(reassembly.PlaceResponseHeader, fieldClasses(head))
	tx.Sensitive.Add(reassembly.PlaceResponseBody, e.bodyClasses(tx.Response.Signature.Media))
}

func fieldClasses(head *message.Head) (set reassembly.ClassSet) {
	for i := range head.Fields {
		set |= classesIn(head.Fields[i].Value)
	}
	return set
}

// bodyClasses looks through what text there is of the body at hand. What may go
// on beyond it is left out.
func (e *Extractor) bodyClasses(media string) reassembly.ClassSet {
	switch media {
	case "", mediaNone, mediaBinary:
		return 0
	}
	data, whole := e.decoder.prefix()
	if !whole {
		data = data[:1+bytes.LastIndexAny(data, "\"'<>&,;{}[]\r\n")]
	}
	if media == mediaForm {
		e.value = appendUnescaped(e.value[:0], data)
		data = e.value
	}
	return classesIn(data)
}

// What an octet may begin.
const (
	octetNothing uint8 = iota
	octetWord          // letters and digits: a number, an IBAN, a token
	octetAt            // e-mail address, around it
	octetPlus          // telephone number
	octetParen         // likewise
)

var octetKinds = func() (kinds [256]uint8) {
	for c := range 256 {
		if isDigit(byte(c)) || isLetter(byte(c)) {
			kinds[c] = octetWord
		}
	}
	kinds['@'], kinds['+'], kinds['('] = octetAt, octetPlus, octetParen
	return kinds
}()

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// classesIn finds the classes of sensitive data in a text. It would rather miss
// one than take another number for it: what has no check digits must stand as
// people write it, or under a name that says what it is. It looks at each octet
// a bounded number of times, and keeps nothing.
func classesIn(b []byte) (set reassembly.ClassSet) {
	for i := 0; i < len(b); {
		switch octetKinds[b[i]] {
		case octetNothing:
			i++
		case octetAt:
			if isEmail(b, i) {
				set |= reassembly.ClassEmail.Of()
			}
			i++
		case octetPlus:
			if isInternational(b, i) {
				set |= reassembly.ClassPhone.Of()
			}
			i++
		case octetParen:
			if isNorthAmerican(b, i+1, ')') {
				set |= reassembly.ClassPhone.Of()
			}
			i++
		case octetWord:
			end := i + 1
			for end < len(b) && octetKinds[b[end]] == octetWord {
				end++
			}
			set |= wordClasses(b, i, end)
			i = end
		}
	}
	return set
}

// wordClasses finds what begins with the word b[i:end].
func wordClasses(b []byte, i, end int) reassembly.ClassSet {
	n := end - i
	switch c := b[i]; {
	case n < 3:
		return 0
	case isDigit(c):
		if i > 0 && bytes.IndexByte([]byte("-._+"), b[i-1]) >= 0 {
			return 0 // the rest of something longer
		}
		return numberClasses(b, i, end)
	case c == 'e' && n >= 3 && b[i+1] == 'y' && b[i+2] == 'J':
		if _, dots := webToken(b[i:]); dots >= tokenDots {
			return reassembly.ClassJWT.Of()
		}
	case 'A' <= c && c <= 'Z' && n >= 4 && isDigit(b[i+2]) && isDigit(b[i+3]):
		if isIBAN(b, i, end) {
			return reassembly.ClassIBAN.Of()
		}
	}
	return 0
}

// numberClasses finds what the number that begins with the word b[i:end] is.
func numberClasses(b []byte, i, end int) reassembly.ClassSet {
	for _, c := range b[i:min(end, i+maxCard+1)] {
		if !isDigit(c) {
			return 0
		}
	}
	switch n := end - i; {
	case n == 3 && isSocialSecurity(b, i):
		return reassembly.ClassSSN.Of()
	case n == 3 && isNorthAmerican(b, i, 0):
		return reassembly.ClassPhone.Of()
	case n == 4:
		if isGroupedCard(b, i) {
			return reassembly.ClassCard.Of()
		}
	case n == 9 && endsAt(b, end):
		switch name := nameBefore(b, i); {
		case isRouting(b[i:end]) && nameHolds(name, "routing", "aba", "rtn", "bankid", "transit"):
			return reassembly.ClassABA.Of()
		case isSocial(b[i:i+3], b[i+3:i+5], b[i+5:end]) && nameHolds(name, "ssn", "social"):
			return reassembly.ClassSSN.Of()
		}
	case n >= 14 && n <= 16 && endsAt(b, end):
		if isIssued(b[i:end]) && isCard(b[i:end]) {
			return reassembly.ClassCard.Of()
		}
	}
	return 0
}

// endsAt reports whether what b[:end] ends with does not go on.
func endsAt(b []byte, end int) bool {
	if end >= len(b) {
		return true
	}
	switch c := b[end]; c {
	case '-', '_', '+', '@':
		return false
	case '.':
		return end+1 >= len(b) || octetKinds[b[end+1]] != octetWord
	default:
		return octetKinds[c] != octetWord
	}
}

// isIssued reports whether digits have prefix and length of cards that are
// issued: Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay.
func isIssued(d []byte) bool {
	two, four := int(d[0]-'0')*10+int(d[1]-'0'), 0
	for _, c := range d[:4] {
		four = four*10 + int(c-'0')
	}
	switch len(d) {
	case 14:
		return two == 36 || two == 38 || two == 39 || four >= 3000 && four <= 3059
	case 15:
		return two == 34 || two == 37
	case 16:
		return d[0] == '4' || two >= 51 && two <= 55 || four >= 2221 && four <= 2720 || four == 6011 ||
			four >= 6440 && four <= 6499 || two == 65 || four >= 3528 && four <= 3589 || two == 62
	}
	return false
}

// isGroupedCard reports whether a card number begins at i that is printed in
// groups: of four digits, or 4-6-5 and 4-6-4.
func isGroupedCard(b []byte, i int) bool {
	for _, groups := range [...][]int{{4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}} {
		var digits [maxCard]byte
		if end, ok := grouped(b, i, groups, " -", digits[:0]); ok && endsAt(b, end) {
			n := 0
			for _, g := range groups {
				n += g
			}
			if isIssued(digits[:n]) && isCard(digits[:n]) {
				return true
			}
		}
	}
	return false
}

// grouped reads groups of so many digits from i on, between which stands the
// same one of the separators, and appends them to digits.
func grouped(b []byte, i int, groups []int, separators string, digits []byte) (end int, ok bool) {
	separator := byte(0)
	for g, n := range groups {
		if g > 0 {
			if i >= len(b) || bytes.IndexByte([]byte(separators), b[i]) < 0 || separator != 0 && b[i] != separator {
				return i, false
			}
			separator = b[i]
			i++
		}
		if len(b)-i < n {
			return i, false
		}
		for _, c := range b[i : i+n] {
			if !isDigit(c) {
				return i, false
			}
		}
		digits = append(digits, b[i:i+n]...)
		i += n
	}
	return i, true
}

// isSocialSecurity reports whether a social security number begins at i.
func isSocialSecurity(b []byte, i int) bool {
	var digits [9]byte
	end, ok := grouped(b, i, []int{3, 2, 4}, "-", digits[:0])
	return ok && endsAt(b, end) && isSocial(digits[:3], digits[3:5], digits[5:])
}

// isSocial reports whether area, group and serial were ever given (20 CFR 422.103;
// no area 000, 666 or from 900 on), and are not those of advertisements.
func isSocial(area, group, serial []byte) bool {
	whole := string(area) + string(group) + string(serial)
	return string(area) != "000" && string(area) != "666" && area[0] != '9' && string(group) != "00" && string(serial) != "0000" &&
		whole != "078051120" && whole != "219099999" && whole != "123456789" && whole != "111111111"
}

// isNorthAmerican reports whether a number of the North American plan begins at
// i, in groups 3-3-4; closing is the parenthesis behind the first, 0 without.
func isNorthAmerican(b []byte, i int, closing byte) bool {
	var digits [10]byte
	if closing != 0 {
		if len(b)-i < 5 || b[i+3] != closing || b[i+4] != ' ' {
			return false
		}
		if _, ok := grouped(b, i, []int{3}, "", digits[:0]); !ok {
			return false
		}
		end, ok := grouped(b, i+5, []int{3, 4}, "-.", digits[3:3])
		return ok && endsAt(b, end) && isExchange(digits[:3]) && isExchange(digits[3:6])
	}
	end, ok := grouped(b, i, []int{3, 3, 4}, "-.", digits[:0])
	return ok && endsAt(b, end) && isExchange(digits[:3]) && isExchange(digits[3:6])
}

// isExchange reports whether three digits may be an area or an exchange: from 200
// on, and none of services such as 911.
func isExchange(d []byte) bool { return d[0] >= '2' && (d[1] != '1' || d[2] != '1') }

// isInternational reports whether a telephone number begins with the plus at i:
// of 8 to 15 digits, the first not 0, with single separators perhaps.
func isInternational(b []byte, i int) bool {
	if i > 0 && (octetKinds[b[i-1]] == octetWord || bytes.IndexByte([]byte("+/_-."), b[i-1]) >= 0) {
		return false
	}
	digits, end := 0, i+1
	for at := i + 1; at < len(b) && at < i+30; at++ {
		switch c := b[at]; {
		case isDigit(c):
			if digits++; digits == 1 && c == '0' {
				return false
			}
			end = at + 1
		case digits > 0 && bytes.IndexByte([]byte(" -.()"), c) >= 0 && (at == end || at == end+1 && b[end] != c):
		default:
			return digits >= 8 && digits <= 15 && endsAt(b, end)
		}
	}
	return digits >= 8 && digits <= 15 && endsAt(b, end)
}

// Bounds of e-mail addresses (RFC 5321 section 4.5.3.1).
const (
	maxLocalPart = 64
	maxDomain    = 253
)

// isEmail reports whether an e-mail address stands around the @ at i. One whose
// domain ends like the name of a file is none: logo@2x.png.
func isEmail(b []byte, i int) bool {
	begin := i
	for begin > 0 && i-begin <= maxLocalPart && (octetKinds[b[begin-1]] == octetWord || bytes.IndexByte([]byte("._%+-"), b[begin-1]) >= 0) {
		begin--
	}
	if begin == i || i-begin > maxLocalPart || octetKinds[b[i-1]] != octetWord {
		return false
	}
	if before := b[:begin]; bytes.HasSuffix(before, []byte("//")) || bytes.HasSuffix(before, []byte(":")) && !bytes.HasSuffix(bytes.ToLower(b[max(0, begin-7):begin]), []byte("mailto:")) {
		return false // user and password of a URL
	}
	end, label := i+1, i+1
	for end < len(b) && end-i <= maxDomain+1 && (octetKinds[b[end]] == octetWord || b[end] == '-' || b[end] == '.') {
		if b[end] == '.' {
			if end == label {
				return false
			}
			if end+1 == len(b) || octetKinds[b[end+1]] != octetWord {
				break // the end of a sentence
			}
			label = end + 1
		}
		end++
	}
	top := b[label:end]
	if label == i+1 || len(top) < 2 || end-i-1 > maxDomain {
		return false
	}
	for _, c := range top {
		if !isLetter(c) {
			return false
		}
	}
	for _, file := range [...]string{"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "mjs", "json", "html", "map"} {
		if equalFold(top, file) {
			return false
		}
	}
	return true
}
