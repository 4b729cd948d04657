package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// rowSize is the length of a row: action 1, expiry 8, requests 8, period 5, id 16.
const rowSize = 38

// The actions; in capitals the verdict only watches.
const (
	actionBlock = 'b'
	actionRate  = 'r'
	actionTag   = 't'
)

const (
	second    = int64(1e9)
	maxPeriod = 24 * 3600 // seconds
)

// place is where a subject lies: its key, and the class of keys it is one of.
type place struct {
	key   string
	class class
}

// class is a length of networks, or a shape of predicates.
type class struct {
	kind   byte // 4, 6, p
	number int  // bits, or the shape
}

func (c class) String() string { return string(c.kind) + "/" + strconv.Itoa(c.number) }

// locate finds the place of a subject; reason says why it has none.
func locate(s detect.Subject) (p place, reason string) {
	switch {
	case s.JA4 != "":
		return p, "it does not compute JA4"
	case s.Session != "":
		return p, "it does not compute session hashes"
	case s.UserHash != "":
		return p, "no load balancer can match an account"
	case s.Client.IsValid() && (s.Client.Addr().Zone() != "" || s.Client.Addr().Is4In6()):
		return p, fmt.Sprintf("%s is not an address as seen on the wire", s.Client)
	case s == detect.Subject{}:
		return p, "the subject names nothing"
	case predicate.PlainClient(s):
		return networkPlace(s.Client), ""
	}
	text, shape, reason := predicate.Of(s, addressText)
	if reason != "" {
		return p, reason
	}
	sum := sha256.Sum256([]byte(text))
	return place{"p/" + hex.EncodeToString(sum[:]), class{'p', int(shape)}}, ""
}

// addressText writes the address of a predicate as the script does.
func addressText(a netip.Addr) string { return hex.EncodeToString(a.AsSlice()) }

// networkPlace is the place of a network: family, bits, and as many hex digits as they fill.
func networkPlace(p netip.Prefix) place {
	kind := byte('6')
	if p.Addr().Is4() {
		kind = '4'
	}
	of := class{kind, p.Bits()}
	digits := hex.EncodeToString(p.Masked().Addr().AsSlice())
	return place{of.String() + "/" + digits[:(p.Bits()+3)/4], of}
}

// isKey reports whether a key is one that locate makes.
func isKey(key string) bool {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "p":
		return len(rest) == 2*sha256.Size && isHex(rest)
	case "4", "6":
		number, digits, found := strings.Cut(rest, "/")
		bits, err := strconv.Atoi(number)
		limit := 32
		if kind == "6" {
			limit = 128
		}
		return found && err == nil && strconv.Itoa(bits) == number && 0 <= bits && bits <= limit && len(digits) == (bits+3)/4 && isHex(digits)
	}
	return false
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// encode makes the row of an entry; reason says why there is none.
func encode(e *mitigate.Entry) (row, reason string) {
	if e.Expires <= 0 || e.Expires > math.MaxUint32 {
		return "", fmt.Sprintf("expiry %d is not a 32-bit time", e.Expires)
	}
	var action byte
	var requests, period int64
	switch e.Action {
	case detect.ActionBlock:
		action = actionBlock
	case detect.ActionTag:
		action = actionTag
	case detect.ActionRateLimit:
		action, requests, period = actionRate, int64(e.Rate.Requests), e.Rate.Per/second
		if requests < 1 || requests > math.MaxInt32 || period < 1 || period > maxPeriod || e.Rate.Per%second != 0 {
			return "", fmt.Sprintf("rate of %d requests per %d ns is not of whole seconds up to a day", e.Rate.Requests, e.Rate.Per)
		}
	default:
		return "", fmt.Sprintf("it has no action %q", e.Action)
	}
	if e.Monitor {
		action -= 'a' - 'A'
	}
	return fmt.Sprintf("%c%08x%08x%05x%s", action, e.Expires, requests, period, e.ID), ""
}

// isRow reports whether a text is a row, as far as its letters tell.
func isRow(text string) bool {
	return len(text) == rowSize && strings.IndexByte("brtBRT", text[0]) >= 0 && isHex(text[1:])
}

// use are the classes of keys that there are, each with the latest expiry among its rows.
type use map[class]int64

func (u use) add(c class, expires int64) { u[c] = max(u[c], expires) }

// line is the first line of an apply: with more than there was, or, instead of it, with
// all there is.
func (u use) line(instead bool) string {
	words := make([]string, 0, len(u))
	for c, expires := range u {
		words = append(words, fmt.Sprintf("%s=%d", c, expires))
	}
	slices.Sort(words)
	if instead {
		return "=" + strings.Join(words, " ") + "\n"
	}
	return "~" + strings.Join(words, " ") + "\n"
}
