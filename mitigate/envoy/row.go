package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// maxRequests bounds a rate: Envoy's buckets have 32 bits.
const maxRequests = 1 << 30

// allowed is the row of a network that is never acted against, nobody what a client without
// any row gets.
const (
	allowed = "-"
	nobody  = "."
)

// place is where an entry lies: a network in the list, or a predicate in the script.
type place struct {
	network netip.Prefix
	key     string // of a predicate: its hash
	shape   predicate.Shape
}

// mapped is where IPv4 lies in IPv6.
var mapped = netip.MustParsePrefix("::ffff:0:0/96")

// compatible are IPv6 addresses that Envoy writes with an IPv4 address at the end.
var compatible = netip.MustParsePrefix("::/96")

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
	case s.Client.IsValid() && s.Client.Addr().Is6() && s.Client.Overlaps(mapped):
		return p, fmt.Sprintf("%s has IPv4 in it where a proxy writes that as IPv6", s.Client)
	case s == detect.Subject{}:
		return p, "the subject names nothing"
	case predicate.PlainClient(s):
		return place{network: s.Client.Masked()}, ""
	}
	text, shape, reason := predicate.Of(s, netip.Addr.String)
	if reason != "" {
		return p, reason
	}
	switch a := s.Client.Addr(); {
	case shape&predicate.Network64 != 0:
		return p, "beside an endpoint or a program it matches single addresses"
	case shape&predicate.Address != 0 && compatible.Contains(a):
		return p, fmt.Sprintf("Envoy writes %s in another way", a)
	}
	sum := sha256.Sum256([]byte(text))
	return place{key: hex.EncodeToString(sum[:]), shape: shape}, ""
}

// encode writes an entry as the script reads it; tier is its rate, if it has one.
func encode(e *mitigate.Entry) (row, tier, reason string) {
	var action byte
	switch e.Action {
	case detect.ActionBlock:
		action = 'b'
	case detect.ActionTag:
		action = 't'
	case detect.ActionRateLimit:
		action = 'r'
		per := time.Duration(e.Rate.Per)
		switch {
		case e.Rate.Requests < 1 || e.Rate.Requests > maxRequests:
			return "", "", fmt.Sprintf("a rate of %d requests is out of range", e.Rate.Requests)
		case per < time.Second || per > 24*time.Hour || per%time.Second != 0:
			return "", "", fmt.Sprintf("a rate per %s is not one of whole seconds up to a day", per)
		}
		tier = strconv.Itoa(e.Rate.Requests) + "/" + strconv.Itoa(int(per/time.Second))
	default:
		return "", "", fmt.Sprintf("it does not know the action %q", e.Action)
	}
	if e.Expires <= 0 || e.Expires > 1<<32-1 {
		return "", "", fmt.Sprintf("expiry %d is not a 32-bit time", e.Expires)
	}
	if e.Monitor {
		action -= 'a' - 'A'
	}
	return fmt.Sprintf("%c%08x%s%s", action, e.Expires, e.ID, tier), tier, ""
}
