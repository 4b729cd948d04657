package campaign

import (
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"offpath/detect"
)

// Price is what a verdict about software (fingerprint, User-Agent, JA4, or what is
// set of them) is expected to hit, of a million legitimate logins, whoever asks for
// it: an upper bound of one about an endpoint too. seen says whether there were
// logins with it at all. Not ok: nothing is set, or too few logins were seen to tell.
func (d *Detector) Price(s detect.Subject) (price float64, seen, ok bool) {
	var n numbers
	var asked uint8
	for _, m := range [...]struct {
		value  string
		number *uint64
		member uint8
	}{{s.Fingerprint, &n.fingerprint, hasFingerprint}, {s.UserAgent, &n.userAgent, hasUserAgent}, {s.JA4, &n.ja4, hasJA4}} {
		if m.value != "" {
			*m.number = xxhash.Sum64String(m.value)
			asked |= m.member
		}
	}
	if asked == 0 || len(s.UserAgent) > maxUserAgent || d.site.right < fewRight {
		return 0, false, false
	}
	keys := n.keys()
	for k, has := range members {
		if has != asked {
			continue
		}
		if i, known := d.cells.index[keys[k]]; known {
			return d.price(d.cells.cells[i]), true, true
		}
	}
	return d.price(&cell{}), false, true
}

// PriceOfNetwork is the same of a network: the sum of the neighbourhoods (see [Network])
// that it overlaps, and so an upper bound.
func (d *Detector) PriceOfNetwork(p netip.Prefix) (price float64) {
	for _, c := range d.cells.cells {
		if c.kind == byNetwork && c.values.Client.Overlaps(p) {
			price += d.price(c)
		}
	}
	return min(price, 1e6)
}

// PriceOfOne is what it costs to keep one customer out, of a million legitimate
// logins.
func (d *Detector) PriceOfOne() float64 { return 1e6 / max(d.site.right, 1) }
