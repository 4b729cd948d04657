package controller

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// rails check a verdict before it is accepted.
type rails struct {
	allow       []netip.Prefix
	own         []netip.Prefix
	targets     []mitigate.Target
	private     bool
	maxLifetime time.Duration
}

// private are the networks of addresses that no client on the Internet has: RFC 1918,
// shared (RFC 6598), loopback and link-local addresses, unique local ones of IPv6 (RFC
// 4193).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fc00::/7"),
}

// check makes the entry of a verdict, or says by a [*RailError] why there is
// none. The verdict's subject is brought to its canonical form and its
// lifetime cut.
func (r *rails) check(v *detect.Verdict, now time.Time) (e mitigate.Entry, shortened bool, err error) {
	id, err := mitigate.ParseID(v.ID)
	if err != nil {
		return e, false, &RailError{Rail: RailMalformed, Reason: err.Error()}
	}
	switch v.Action {
	case detect.ActionBlock, detect.ActionRateLimit, detect.ActionChallenge,
		detect.ActionDeceive, detect.ActionTag, detect.ActionHold:
	default:
		return e, false, &RailError{Rail: RailMalformed, Reason: fmt.Sprintf("unknown action %q", v.Action)}
	}
	if v.Action == detect.ActionRateLimit {
		if v.Rate.Requests < 1 || v.Rate.Requests > math.MaxInt32 || v.Rate.Per < int64(time.Second) || v.Rate.Per%int64(time.Second) != 0 {
			return e, false, &RailError{Rail: RailMalformed, Reason: fmt.Sprintf("rate of %d requests per %s", v.Rate.Requests, time.Duration(v.Rate.Per))}
		}
	} else {
		v.Rate = detect.Rate{}
	}
	switch v.Mode {
	case detect.ModeMonitor, detect.ModeEnforce:
	default:
		return e, false, &RailError{Rail: RailMalformed, Reason: fmt.Sprintf("mode %q is neither monitor nor enforce", v.Mode)}
	}
	if err := r.checkSubject(&v.Subject); err != nil {
		return e, false, err
	}
	// A rate is each address's own, and a tag keeps nobody out.
	if everybody := (detect.Subject{Endpoint: v.Subject.Endpoint, Domain: v.Subject.Domain}); v.Subject == everybody &&
		v.Action != detect.ActionRateLimit && v.Action != detect.ActionTag {
		return e, false, &RailError{Rail: RailEverybody, Reason: fmt.Sprintf("%s of everybody at %s; name a client or a program, or limit the rate",
			v.Action, cmp.Or(v.Subject.Endpoint, v.Subject.Domain))}
	}

	if v.Expires <= now.UnixNano() {
		return e, false, &RailError{Rail: RailExpired, Reason: "it ended at " + time.Unix(0, v.Expires).UTC().Format(time.RFC3339)}
	}
	if latest := now.Add(r.maxLifetime).UnixNano(); v.Expires > latest {
		v.Expires, shortened = latest, true
	}
	return mitigate.Entry{
		ID:      id,
		Action:  v.Action,
		Subject: v.Subject,
		Rate:    v.Rate,
		Monitor: v.Mode == detect.ModeMonitor,
		Expires: (v.Expires + int64(time.Second) - 1) / int64(time.Second),
	}, shortened, nil
}

func (r *rails) checkSubject(s *detect.Subject) error {
	if *s == (detect.Subject{}) {
		return &RailError{Rail: RailMalformed, Reason: "the subject is empty and would match every request"}
	}
	s.Domain, s.Endpoint = mitigate.Domain(s.Domain), mitigate.Endpoint(s.Endpoint) // else one row at a target would have two subjects
	if s.Client == (netip.Prefix{}) {
		return nil
	}
	if !s.Client.IsValid() {
		return &RailError{Rail: RailMalformed, Reason: "client.ip is no network"}
	}
	addr, bits := s.Client.Addr().WithZone(""), s.Client.Bits()
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	s.Client = netip.PrefixFrom(addr, bits).Masked()
	least := MinApprovedIPv6
	if addr.Is4() {
		least = MinApprovedIPv4
	}
	if bits < least {
		return &RailError{Rail: RailPrefix, Reason: fmt.Sprintf("network %s is wider than /%d", s.Client, least)}
	}
	if addr.IsUnspecified() || addr.IsMulticast() {
		return &RailError{Rail: RailMalformed, Reason: fmt.Sprintf("%s is not the address of a client", s.Client)}
	}
	for _, p := range private {
		if !r.private && p.Overlaps(s.Client) {
			return &RailError{Rail: RailPrivate, Reason: fmt.Sprintf("%s is in %s, where no client on the Internet is", s.Client, p)}
		}
	}
	for _, p := range r.allow {
		if p.Overlaps(s.Client) {
			return &RailError{Rail: RailAllowed, Reason: fmt.Sprintf("%s overlaps %s of the allow-list", s.Client, p)}
		}
	}
	for _, p := range r.own {
		if p.Overlaps(s.Client) {
			return &RailError{Rail: RailOwn, Reason: fmt.Sprintf("%s covers %s of this installation", s.Client, p)}
		}
	}
	for _, t := range r.targets {
		for _, a := range t.Addresses() {
			if s.Client.Contains(a) {
				return &RailError{Rail: RailOwn, Reason: fmt.Sprintf("%s covers %s, the address of target %s", s.Client, a, t.Name())}
			}
		}
	}
	return nil
}
