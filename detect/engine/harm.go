package engine

import (
	"offpath/detect"
)

// Harm is how many of a million legitimate logins a verdict about a subject would hit if
// the next are like the recent ones: an upper bound, for orders that detection did not
// make itself. Not known: nothing that was seen tells it.
func (e *Engine) Harm(s detect.Subject) (perMillion float64, known bool) {
	perMillion = 1e6
	bound := func(price float64) { perMillion, known = min(perMillion, price), true }
	if s.Client.IsValid() {
		// Of single addresses, and of IPv6 /64, it is known more closely.
		single := 64
		if s.Client.Addr().Is4() {
			single = 32
		}
		if s.Client.Bits() >= single {
			_, price := e.sequential.Customers(s.Client)
			bound(price)
		} else {
			bound(e.campaigns.PriceOfNetwork(s.Client))
		}
	}
	if price, _, ok := e.campaigns.Price(detect.Subject{Fingerprint: s.Fingerprint, UserAgent: s.UserAgent, JA4: s.JA4}); ok {
		bound(price)
	}
	if !known {
		return 0, false
	}
	return perMillion, true
}
