package jsonl

import "math"

const (
	second    = 1_000_000_000
	daySecond = 24 * 60 * 60
)

// instants writes instants. It keeps the text of the second of the last one; the
// zero value has none.
type instants struct {
	second int64
	text   [timeSize]byte
}

// timeSize is how many octets the text of an instant has, with its quotes.
const timeSize = len(`"2006-01-02T15:04:05.000000000Z"`)

// append appends an instant, ns since the epoch, as RFC 3339 in UTC with nine
// digits of fraction, so that lines sort as text.
func (i *instants) append(dst []byte, ns int64) []byte {
	sec, frac := floorDiv(ns, second)
	if sec != i.second || i.text[0] == 0 {
		i.second, i.text = sec, secondText(sec)
	}
	dst = append(dst, i.text[:]...)
	putFraction((*[timeSize]byte)(dst[len(dst)-timeSize:]), uint32(frac))
	return dst
}

// secondText is the text of the first instant of a second.
func secondText(sec int64) [timeSize]byte {
	day, sec := floorDiv(sec, daySecond)
	year, month, mday := civil(day)
	t := [timeSize]byte{
		'"', '2', '0', '0', '6', '-', '0', '1', '-', '0', '2', 'T', '1', '5', ':', '0', '4', ':', '0', '5', '.',
		'0', '0', '0', '0', '0', '0', '0', '0', '0', 'Z', '"',
	}
	clock := uint32(sec)
	put2(t[1:], uint32(year)/100)
	put2(t[3:], uint32(year)%100)
	put2(t[6:], uint32(month))
	put2(t[9:], uint32(mday))
	put2(t[12:], clock/3600)
	put2(t[15:], clock/60%60)
	put2(t[18:], clock%60)
	return t
}

func putFraction(t *[timeSize]byte, ns uint32) {
	high, low := ns/100_000, ns%100_000
	put2(t[21:], high/100)
	put2(t[23:], high%100)
	put2(t[25:], low/1000)
	put2(t[27:], low/10%100)
	t[29] = byte('0' + low%10)
}

func floorDiv(a, b int64) (q, r int64) {
	q, r = a/b, a%b
	if r < 0 {
		q, r = q-1, r+b
	}
	return q, r
}

// civil returns the Gregorian date of a day counted from 1970-01-01, from the
// year -400 on. The year of the calculation begins in March, so that the leap
// day is its last; 400 years are 146097 days. The divisions are those of Neri
// and Schneider, Euclidean affine functions and their application to calendar
// algorithms (2022).
func civil(day int64) (year, month, mday int64) {
	n := 4*uint32(day+719468+146097) + 3 // quarters of days from March of the year -400 on
	century := n / 146097
	n = n%146097 | 3
	p := uint64(n) * 2939745 // 2^32 / 1461
	ofYear := uint32(p) / 2939745 / 4
	m := 2141*ofYear + 197913
	year, month, mday = int64(100*century+uint32(p>>32))-400, int64(m>>16), int64(m&0xffff/2141)+1
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, mday
}

// days is the inverse of civil.
func days(year, month, mday int64) int64 {
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	era, y := floorDiv(year, 400)
	return 146097*era + 365*y + y/4 - y/100 + (153*month+2)/5 + mday - 1 - 719468
}

// parseTime parses an RFC 3339 instant; not ok if it is none or lies outside of
// what ns since the epoch can hold (the years 1677 to 2262).
func parseTime(s []byte) (ns int64, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	var v [6]int64
	for i, at := range [...]struct{ from, to int }{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		for _, c := range s[at.from:at.to] {
			if c < '0' || c > '9' {
				return 0, false
			}
			v[i] = v[i]*10 + int64(c-'0')
		}
	}
	day := days(v[0], v[1], v[2])
	if y, m, d := civil(day); y != v[0] || m != v[1] || d != v[2] || v[3] > 23 || v[4] > 59 || v[5] > 60 {
		return 0, false
	}
	s = s[19:]
	frac := int64(0)
	if s[0] == '.' {
		if s = s[1:]; len(s) == 0 || s[0] < '0' || s[0] > '9' {
			return 0, false
		}
		unit := int64(second / 10)
		for ; len(s) > 0 && '0' <= s[0] && s[0] <= '9'; s = s[1:] {
			frac += unit * int64(s[0]-'0') // digits beyond the ninth count nothing
			unit /= 10
		}
	}
	offset, ok := parseZone(s)
	if !ok {
		return 0, false
	}
	sec := day*daySecond + v[3]*3600 + v[4]*60 + v[5] - offset
	switch {
	case sec > math.MaxInt64/second || sec < math.MinInt64/second-1:
		return 0, false
	case sec < 0: // added to the second after it, for the first instant there is
		return (sec+1)*second + (frac - second), (sec+1)*second >= math.MinInt64+(second-frac)
	}
	return sec*second + frac, sec*second <= math.MaxInt64-frac
}

// parseZone parses Z or an offset from UTC, in seconds.
func parseZone(s []byte) (offset int64, ok bool) {
	if len(s) == 1 && s[0]|0x20 == 'z' {
		return 0, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	for _, i := range [...]int{1, 2, 4, 5} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	h, m := int64(s[1]-'0')*10+int64(s[2]-'0'), int64(s[4]-'0')*10+int64(s[5]-'0')
	if offset = h*3600 + m*60; s[0] == '-' {
		offset = -offset
	}
	return offset, h < 24 && m < 60
}
