package content

import "bytes"

// appendRedacted appends a URL, or any text that may hold one, with every value
// under a credential-like name replaced by its keyed hash:
//
//   - in query and fragment, also where the delimiters are percent-encoded once
//     or more because the URL stands inside another (…?next=%2Fcb%3Ftoken%3D…);
//   - in path parameters (;jsessionid=…);
//   - user and password before an @ in the authority;
//   - payment card numbers, whatever they are called, as path segment or value;
//   - JSON Web Tokens, wherever they stand, percent-encoded or not;
//   - values that are JSON, GraphQL or the like and have such a name in them, as
//     a whole.
//
// The hash is of the value with percent-encoding undone, so that it equals that
// of the same secret elsewhere. Values go on to the next & or # as sent: more is
// hidden then sometimes, never less: so is a value after many that reach over it.
func (e *Extractor) appendRedacted(dst, url []byte) []byte {
	if e.hash.cleartext {
		return append(dst, url...)
	}
	from := len(dst)
	if mayHoldSecret(url) {
		dst = e.appendPairs(dst, url)
	} else {
		dst = append(dst, url...)
	}
	return e.hideTokens(e.hideStructure(dst, from), from)
}

// appendPairs is appendRedacted of what stands in pairs, in the authority or as
// a path segment.
func (e *Extractor) appendPairs(dst, url []byte) []byte {
	dst, i := e.appendAuthority(dst, url)
	begin := i == 0 // a name may stand at once: text that is no URL, a bare query
	query := false
	looked := 0 // octets of values in which names were looked for
	for i < len(url) {
		if !begin {
			span := i
			for span < len(url) && !special[url[span]] {
				span++
			}
			dst = append(dst, url[i:span]...)
			if i = span; i == len(url) {
				break
			}
			c, width := delimiter(url[i:])
			dst = append(dst, url[i:i+max(width, 1)]...)
			i += max(width, 1)
			if width == 0 {
				continue
			}
			query = query || c == '?' || c == '#'
			if c == '/' && i < len(url) && isDigit(url[i]) {
				if end := i + segmentEnd(url[i:]); isCard(url[i:end]) {
					dst = e.appendCard(dst, url[i:end])
					i = end
					continue
				}
			}
		}
		begin = false
		name, width := e.pairName(url[i:])
		dst = append(dst, url[i:i+width]...)
		i += width
		if width == 0 || i == len(url) {
			continue
		}
		if kind, secret := e.keys.names.look(name, endsOf(name)).info.hashed(); secret {
			end := i + valueEnd(url[i:], query)
			e.value = appendUnescaped(e.value[:0], url[i:end])
			dst = e.hash.append(dst, kind, e.value)
			i = end
			continue
		}
		end := i + valueEnd(url[i:], query)
		if looked += end - i; looked > len(url)+maxLooked || e.holdsNamedSecret(url[i:end]) {
			e.value = appendUnescaped(e.value[:0], url[i:end])
			dst = e.hash.append(dst, KindToken, e.value)
			i = end
			continue
		}
		short := url[i:min(i+6*maxCard, len(url))]
		short = short[:valueEnd(short, query)]
		if e.value = appendUnescaped(e.value[:0], short); isCard(e.value) {
			dst = e.appendCard(dst, e.value)
			i += len(short)
		}
	}
	return dst
}

// maxLooked is how many octets are looked at again for names: a value in a query holds
// those that begin within it, so a few octets can make thousands of long ones.
const maxLooked = 4 << 10

// hideStructure hashes what dst[from:] still holds of named secrets, as a whole:
// the text, or of a URL what is behind its path.
func (e *Extractor) hideStructure(dst []byte, from int) []byte {
	text := dst[from:]
	if start := bytes.IndexAny(text, "?#;"); start >= 0 {
		from += start + 1
	} else if bytes.HasPrefix(text, []byte{'/'}) || bytes.Contains(text, []byte("://")) {
		return dst
	}
	if !e.holdsNamedSecret(dst[from:]) {
		return dst
	}
	e.value = append(e.value[:0], dst[from:]...)
	return e.hash.append(dst[:from], KindToken, e.value)
}

// maxEscaped is how often percent-encoding is undone in search of names.
const maxEscaped = 4

// holdsNamedSecret reports whether text, percent-encoded or not, has structure in
// it, and there a colon behind a credential-like name: {"password":…},
// login(pin:…).
func (e *Extractor) holdsNamedSecret(text []byte) bool {
	if !mayHaveStructure(text) {
		return false
	}
	for range maxEscaped {
		before := len(text)
		if bytes.IndexByte(text, '%') < 0 {
			break
		}
		e.structure = appendUnescaped(e.structure[:0], text)
		if text = e.structure; len(text) == before {
			break
		}
	}
	if !bytes.ContainsAny(text, "\"{(") {
		return false
	}
	for {
		colon := bytes.IndexByte(text, ':')
		if colon < 0 {
			return false
		}
		name := bytes.TrimRight(text[:colon], " \t\r\n\"'")
		name = name[bytes.LastIndexAny(name, " \t\r\n\"'{}(),;=&?")+1:]
		if bytes.IndexByte(name, '\\') >= 0 {
			return true // a name that doesn't want to be read
		}
		if len(name) <= maxName {
			if _, secret := e.keys.names.look(name, endsOf(name)).info.hashed(); secret {
				return true
			}
		}
		text = text[colon+1:]
	}
}

// mayHaveStructure reports whether an octet that structure begins with stands in text,
// percent-encoded or not, or may come out of its encodings: of a percent sign, or a
// digit that can stand behind one.
func mayHaveStructure(text []byte) bool {
	for i := 0; i < len(text); {
		c, width := unescapedByte(text[i:])
		if c == '"' || c == '{' || c == '(' || c == '%' || width > 1 && unhex(c) >= 0 {
			return true
		}
		i += width
	}
	return false
}

func (e *Extractor) appendCard(dst, number []byte) []byte {
	e.lower = cardDigits(e.lower[:0], number)
	return e.hash.append(dst, KindCard, e.lower)
}

// mayHoldSecret is the quick look that lets most URLs pass.
func mayHoldSecret(url []byte) bool {
	digits := 0
	for _, c := range url {
		switch {
		case c == '=' || c == '@' || c == '%':
			return true
		case isDigit(c):
			if digits++; digits >= minCard {
				return true
			}
		case c != '-' && c != ' ' && c != '+':
			digits = 0
		}
	}
	return false
}

// appendAuthority appends scheme and authority of an absolute URL, user and
// password hashed, and returns how much of url that is.
func (e *Extractor) appendAuthority(dst, url []byte) ([]byte, int) {
	start := bytes.Index(url, []byte("//"))
	if start < 0 || bytes.ContainsAny(url[:start], "/?#") {
		return dst, 0
	}
	start += 2
	end := start
	for end < len(url) && url[end] != '/' && url[end] != '?' && url[end] != '#' {
		end++
	}
	at := bytes.LastIndexByte(url[start:end], '@')
	if at < 0 {
		return append(dst, url[:end]...), end
	}
	dst = e.appendUserInfo(append(dst, url[:start]...), url[start:start+at])
	return append(dst, url[start+at:end]...), end
}

// appendUserInfo appends user:password hashed (RFC 3986 section 3.2.1).
func (e *Extractor) appendUserInfo(dst, info []byte) []byte {
	user, password, both := bytes.Cut(info, []byte{':'})
	e.value = appendUnescaped(e.value[:0], user)
	dst = e.hash.append(dst, KindAccount, e.value)
	if both {
		e.value = appendUnescaped(e.value[:0], password)
		dst = e.hash.append(append(dst, ':'), KindPassword, e.value)
	}
	return dst
}

// special are the octets that delimit names and values, and the one that begins
// a percent-encoding.
var special = [256]bool{'?': true, '&': true, ';': true, '#': true, '/': true, ' ': true, ',': true, '=': true, '%': true}

// delimiter returns the delimiter before a name (? & ; #) or a path segment (/)
// that b begins with, as is or percent-encoded any number of times, and its
// width; width 0 if there is none.
func delimiter(b []byte) (c byte, width int) {
	c, width = unescapedByte(b)
	switch c {
	case '?', '&', ';', '#', '/', ' ', ',':
		return c, width
	}
	return 0, 0
}

// unescapedByte returns the octet that b begins with, percent-encoding undone
// however often it was applied (%3D, %253D, %25253D …), and its width.
func unescapedByte(b []byte) (byte, int) {
	if b[0] != '%' {
		return b[0], 1
	}
	i := 1
	for i+1 < len(b) && b[i] == '2' && b[i+1] == '5' {
		i += 2
	}
	if i+1 < len(b) {
		if hi, lo := unhex(b[i]), unhex(b[i+1]); hi >= 0 && lo >= 0 {
			return byte(hi<<4 | lo), i + 2
		}
	}
	return '%', 1
}

// pairName returns the decoded name that b begins with and the width of name
// and equals sign; width 0 if no equals sign ends it.
func (e *Extractor) pairName(b []byte) (name []byte, width int) {
	plain := 0
	for plain < len(b) && !special[b[plain]] {
		plain++
	}
	switch {
	case plain == len(b):
		return nil, 0
	case b[plain] == '=':
		return b[:plain], plain + 1
	case b[plain] != '%':
		return nil, 0
	}
	e.lower = append(e.lower[:0], b[:plain]...)
	for i := plain; i < len(b); {
		c, w := unescapedByte(b[i:])
		switch c {
		case '=':
			return e.lower, i + w
		case '?', '&', ';', '#', '/', ' ', ',':
			return nil, 0
		}
		e.lower = append(e.lower, c)
		i += w
	}
	return nil, 0
}

// valueEnd returns where the value that b begins with ends.
func valueEnd(b []byte, query bool) int {
	for i, c := range b {
		switch c {
		case '&', '#':
			return i
		case '/', ';', '?':
			if !query {
				return i
			}
		}
	}
	return len(b)
}

func segmentEnd(b []byte) int {
	if i := bytes.IndexAny(b, "/?#;"); i >= 0 {
		return i
	}
	return len(b)
}

// appendUnescaped appends b with percent-encoding undone and + as a space, as
// in application/x-www-form-urlencoded. What is no valid encoding stays as sent.
func appendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
			dst = append(dst, byte(unhex(b[i+1])<<4|unhex(b[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// Digits of a payment card number (ISO/IEC 7812).
const (
	minCard = 13
	maxCard = 19
)

// isCard reports whether b is a payment card number: 13 to 19 digits, with
// spaces or hyphens between them perhaps, of an issuer of payment cards (first
// digit 2 to 6), with a right check digit (Luhn).
func isCard(b []byte) bool {
	if len(b) < minCard || len(b) > 2*maxCard {
		return false
	}
	sum, n, first := 0, 0, byte(0)
	for i := len(b) - 1; i >= 0; i-- {
		c := b[i]
		if c == '-' || c == ' ' {
			continue
		}
		if !isDigit(c) {
			return false
		}
		d := int(c - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
		first = c
	}
	return n >= minCard && n <= maxCard && first >= '2' && first <= '6' && sum%10 == 0
}

func cardDigits(dst, b []byte) []byte {
	for _, c := range b {
		if isDigit(c) {
			dst = append(dst, c)
		}
	}
	return dst
}
