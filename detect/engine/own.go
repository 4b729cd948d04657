package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"offpath/detect"
	"offpath/detect/internal/distinct"
	"offpath/detect/login"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
	"offpath/reassembly"
)

// How many entities each of an operator's own policies remembers at most, some
// 20 MB and as much again if it counts different things; and all together.
const (
	maxPolicyEntities = 1 << 16
	allPolicyEntities = 1 << 19
)

// own is the policies of the operator's own at work. Of nil there are none.
type own struct {
	set      *policy.Set
	policies []*policy.Policy
	tables   []*policy.Table // of each
	kinds    bool            // whether one asks for the kind of endpoint
	crowds   *crowds         // nil: none acts against anybody
	facts    policy.Facts
	identity identity // of the request at hand
}

// entity is what meets a policy.
type entity struct {
	policy string
	key    policy.Key
}

// isOwn reports whether a policy is one of the operator's own.
func isOwn(p *policy.Policy) bool { return p != nil && p.Condition != nil }

// with is the same with other policies; what was counted for one that still counts
// the same stays.
func (o *own) with(set *policy.Set) *own {
	if len(set.Own()) == 0 {
		return nil
	}
	next := &own{set: set, policies: set.Own(), kinds: set.NeedsKind()}
	for _, p := range next.policies {
		if p.Action != policy.ActionNone && next.crowds == nil {
			if next.crowds = newCrowds(); o != nil && o.crowds != nil {
				next.crowds = o.crowds
			}
		}
		table := policy.NewTable(p, min(maxPolicyEntities, allPolicyEntities/len(next.policies)))
		if o != nil {
			for i, before := range o.policies {
				if before.Name == p.Name && before.SameMatter(p) {
					table = o.tables[i]
				}
			}
		}
		next.tables = append(next.tables, table)
	}
	return next
}

// held is how many entities are remembered, and were forgotten for want of room.
func (o *own) held() (n int, evictions uint64) {
	if o == nil {
		return 0, 0
	}
	for _, t := range o.tables {
		n += t.Len()
		evictions += t.Evictions()
	}
	return n, evictions
}

func (o *own) table(name string) *policy.Table {
	if o != nil {
		for i, p := range o.policies {
			if p.Name == name {
				return o.tables[i]
			}
		}
	}
	return nil
}

func (o *own) pardon(e *entity) {
	if t := o.table(e.policy); t != nil {
		t.Pardon(e.key)
	}
}

// policed is what an operator's own policies have to know of a place; nil where there
// are none.
type policed struct {
	requests, calls, pages, data uint64 // what it has answered, if one asks for its kind

	// Which policies can be met there, a bit each, under the name, in the role and of
	// the kind that it was last asked for. It says nothing that can't be reckoned anew.
	set              *policy.Set
	name, role, kind string
	met              uint64
}

// serve counts a request, and says of what kind the place is.
func (p *policed) serve(tx *reassembly.Transaction) (kind string) {
	p.requests++
	if sitemap.Mobile(tx.Request.UserAgent) {
		p.calls++
	}
	page, data := sitemap.Serves(tx)
	p.pages += page
	p.data += data
	return sitemap.Kind(p.requests, p.calls, p.pages, p.data)
}

// merge is what two places that turned out to be one have answered together.
func (p *policed) merge(o *policed) *policed {
	switch {
	case o == nil:
		return p
	case p == nil:
		return o
	}
	p.requests += o.requests
	p.calls += o.calls
	p.pages += o.pages
	p.data += o.data
	return p
}

// ownPolicies lets an annotated request count for the operator's own policies.
func (e *Engine) ownPolicies(tx *reassembly.Transaction, at *place) {
	o := e.own
	f := &o.facts
	*f = policy.Facts{Transaction: tx, Endpoint: at.name, Role: tx.Annotation.Role}
	if at.policed == nil {
		at.policed = new(policed)
	}
	c := at.policed
	if o.kinds {
		f.EndpointIs = c.serve(tx)
	}
	if c.set != o.set || c.name != f.Endpoint || c.role != f.Role || c.kind != f.EndpointIs {
		c.set, c.name, c.role, c.kind, c.met = o.set, f.Endpoint, f.Role, f.EndpointIs, 0
		for i, p := range o.policies {
			if e.asked(p.Condition.AtEndpoint(f)) {
				c.met |= 1 << i
			}
		}
	}
	if c.met == 0 && o.crowds == nil {
		return
	}
	id := &o.identity
	*id = e.identify(tx, at)
	if o.crowds != nil {
		o.crowds.see(tx, id, e.clock)
	}
	// What comes from where nobody is acted against speaks against nobody else; of
	// itself it is only said.
	allowed := id.client.IsValid() && overlapsAny(e.cfg.Allow, id.client)
	for i, p := range o.policies {
		if c.met&(1<<i) == 0 || allowed && p.Action != policy.ActionNone && !slices.Contains(p.Per, policy.ByClient) || !e.asked(p.Condition.Picks(f)) {
			continue
		}
		k, ok := keyOf(p, id)
		if !ok {
			continue
		}
		seen := policy.Seen{
			Login: tx.Annotation.Role == login.RoleLogin, Failure: tx.Annotation.EventOutcome == "failure",
			Success: tx.Annotation.EventOutcome == "success", Error: tx.Response.Status >= 400,
		}
		if o.tables[i].Distinct() {
			seen.Account, seen.Endpoint = number(tx.Auth.UserHash), max(xxhash.Sum64String(at.name), 1)
			if client := tx.Client.Unmap().WithZone(""); client.IsValid() {
				seen.Client = distinct.Address(client)
			}
		}
		f.Counts = o.tables[i].Count(k, e.clock, &seen)
		if e.asked(p.Condition.Convicts(f)) {
			e.meets(p, entity{p.Name, k}, id, tx)
		}
	}
	f.Transaction = nil
}

// asked takes the answer of a condition; one that can't be had convicts nobody.
func (e *Engine) asked(holds bool, err error) bool {
	if err != nil {
		e.stats.PolicyErrors++
	}
	return holds && err == nil
}

// identity is what a request, or a subject, tells of who is behind it.
type identity struct {
	client                                                       netip.Prefix // of IPv6 the /64
	fingerprint, userAgent, ja4, session, apiKey, user, endpoint string
}

// Longer ones are kept by no verdict: they count as unknown. Of the User-Agent it is
// what campaigns know.
const maxUserAgent, maxEndpointName = 512, 1024

// identify tells who is behind a request. Behind a trusted proxy that passes nothing
// on, the client is not known.
func (e *Engine) identify(tx *reassembly.Transaction, at *place) identity {
	id := identity{
		fingerprint: tx.Fingerprint, userAgent: tx.Request.UserAgent, ja4: tx.JA4,
		apiKey: tx.Auth.APIKeyHash, user: tx.Auth.UserHash, endpoint: at.name,
	}
	if len(tx.Auth.SessionPresented) > 0 {
		id.session = tx.Auth.SessionPresented[0]
	}
	if len(id.userAgent) > maxUserAgent {
		id.userAgent = ""
	}
	if len(id.endpoint) > maxEndpointName {
		id.endpoint = ""
	}
	if client := tx.Client.Unmap().WithZone(""); client.IsValid() && !containsAddr(e.cfg.TrustedProxies, client) {
		bits := client.BitLen()
		if client.Is6() {
			bits = 64
		}
		id.client = netip.PrefixFrom(client, bits).Masked()
	}
	return id
}

// identityOf tells who is behind a subject.
func identityOf(s *detect.Subject) *identity {
	return &identity{client: s.Client, fingerprint: s.Fingerprint, userAgent: s.UserAgent, ja4: s.JA4, session: s.Session, user: s.UserHash, endpoint: s.Endpoint}
}

// text is a member's value but for the client.
func (id *identity) text(m policy.Member) string {
	switch m {
	case policy.ByFingerprint:
		return id.fingerprint
	case policy.ByUserAgent:
		return id.userAgent
	case policy.ByJA4:
		return id.ja4
	case policy.BySession:
		return id.session
	case policy.ByAPIKey:
		return id.apiKey
	case policy.ByUser:
		return id.user
	}
	return id.endpoint
}

// keyOf names the entity of a policy; not ok if one of its members is not known.
func keyOf(p *policy.Policy, id *identity) (k policy.Key, ok bool) {
	for i, m := range p.Per {
		if m == policy.ByClient {
			if !id.client.IsValid() {
				return k, false
			}
			b := id.client.Addr().As16()
			k[i] = halves(b[:])
			continue
		}
		text := id.text(m)
		switch {
		case text == "":
			return k, false
		case len(text) == 16 && m != policy.ByUserAgent && m != policy.ByEndpoint:
			k[i] = [2]uint64{0, number(text)}
		default:
			sum := sha256.Sum256([]byte(text))
			k[i] = halves(sum[:])
		}
	}
	return k, true
}

func halves(b []byte) [2]uint64 {
	return [2]uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// subjectOf is what a load balancer is to match of the entity of a policy. No load
// balancer matches an API key: of one alone, it is the software that abused it there.
func subjectOf(p *policy.Policy, id *identity) (s detect.Subject) {
	key := false
	for _, m := range p.Per {
		switch m {
		case policy.ByClient:
			s.Client = id.client
		case policy.ByFingerprint:
			s.Fingerprint = strings.Clone(id.fingerprint)
		case policy.ByUserAgent:
			s.UserAgent = strings.Clone(id.userAgent)
		case policy.ByJA4:
			s.JA4 = strings.Clone(id.ja4)
		case policy.BySession:
			s.Session = strings.Clone(id.session)
		case policy.ByUser:
			s.UserHash = strings.Clone(id.user)
		case policy.ByEndpoint:
			s.Endpoint = strings.Clone(id.endpoint)
		case policy.ByAPIKey:
			key = true
		}
	}
	if key && (s == detect.Subject{Endpoint: s.Endpoint}) {
		s.Endpoint, s.Fingerprint = strings.Clone(id.endpoint), strings.Clone(id.fingerprint)
	}
	return s
}
