package cloudflare

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// Prefixes that an item of a list may have, in bits: the narrowest that Cloudflare's
// documentation names.
const (
	min4, max4 = 8, 32
	min6, max6 = 12, 64
)

// record is what the comment of an item says of the verdict that it is there by.
type record struct {
	id      mitigate.ID
	expires int64 // s
}

// String is the comment, also for who reads the list at Cloudflare.
func (r record) String() string {
	return "offpath " + r.id.String() + " until " + time.Unix(r.expires, 0).UTC().Format(time.RFC3339)
}

// parseRecord is the inverse of String; any other comment is somebody else's.
func parseRecord(comment string) (r record, ok bool) {
	words := strings.Split(comment, " ")
	if len(words) != 4 || words[0] != "offpath" || words[2] != "until" {
		return r, false
	}
	id, err := mitigate.ParseID(words[1])
	if err != nil {
		return r, false
	}
	expires, err := time.Parse(time.RFC3339, words[3])
	if err != nil || expires.Unix() <= 0 {
		return r, false
	}
	r = record{id, expires.Unix()}
	return r, r.String() == comment
}

// parseNetwork reads the address or network of an item, however it is written.
func parseNetwork(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// formatNetwork writes one as an item has it.
func formatNetwork(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// place says which network of a list an entry is; reason why it is none.
func place(e *mitigate.Entry) (client netip.Prefix, r record, reason string) {
	r = record{e.ID, e.Expires}
	switch {
	case e.Action == detect.ActionRateLimit:
		return client, r, "each of Cloudflare's data centres counts a rate for itself, and then refuses for a fixed time: it has no rate of a client"
	case e.Action == detect.ActionChallenge:
		return client, r, "who solves a challenge of Cloudflare's passes, and would look like one that was never challenged"
	case e.Action != detect.ActionBlock:
		return client, r, fmt.Sprintf("it has no action %q", e.Action)
	case e.Monitor:
		return client, r, "it can't only watch one client: a list is enforced or not"
	case e.Expires <= 0 || e.Expires > maxExpiry:
		return client, r, fmt.Sprintf("expiry %d is no time", e.Expires)
	}
	if client, reason = predicate.Client(e.Subject); reason != "" {
		return client, r, reason
	}
	least, most := min6, max6
	if client.Addr().Is4() {
		least, most = min4, max4
	}
	if bits := client.Bits(); bits < least || bits > most {
		return client, r, fmt.Sprintf("its lists hold IPv4 from /%d to /%d and IPv6 from /%d to /%d, and %s is neither", min4, max4, min6, max6, client)
	}
	return client, r, ""
}

// maxExpiry is the last second of the year 9999, which is the last that RFC 3339 writes.
const maxExpiry = 253402300799

// allowed are the networks of an allow-list as items of a list: too wide ones in parts;
// IPv6 narrower than /64 as the /64, which is the least that a verdict here may name.
func allowed(allow []netip.Prefix) (map[netip.Prefix]bool, error) {
	all := make(map[netip.Prefix]bool)
	for _, p := range allow {
		if !p.IsValid() {
			return nil, fmt.Errorf("allow-list holds an invalid network")
		}
		least, most := min6, max6
		if p.Addr().Is4() {
			least, most = min4, max4
		}
		if p.Bits() > most {
			p = netip.PrefixFrom(p.Addr(), most)
		}
		p = p.Masked()
		if short := least - p.Bits(); short > 0 && 1<<short > maxAllow {
			return nil, fmt.Errorf("allow-list: %s would be %d items of a list at Cloudflare, more than %d", p, 1<<short, maxAllow)
		}
		split(p, least, all)
		if len(all) > maxAllow {
			return nil, fmt.Errorf("allow-list has more than %d items of a list at Cloudflare", maxAllow)
		}
	}
	return all, nil
}

// split adds the networks of at least so many bits that p consists of.
func split(p netip.Prefix, least int, to map[netip.Prefix]bool) {
	if p.Bits() >= least {
		to[p] = true
		return
	}
	octets := p.Addr().AsSlice()
	octets[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(octets)
	split(netip.PrefixFrom(p.Addr(), p.Bits()+1), least, to)
	split(netip.PrefixFrom(upper, p.Bits()+1), least, to)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
