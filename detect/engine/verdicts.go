package engine

import (
	"container/heap"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"offpath/detect"
	"offpath/detect/campaign"
	"offpath/detect/network"
	"offpath/detect/plain"
	"offpath/detect/policy"
	"offpath/detect/sequential"
)

// active is a verdict in force, or what stands for one: a subject on the
// allow-list has none, but is not found again and again either.
type active struct {
	verdict  detect.Verdict     // as last written
	finding  detect.Finding     // as last written
	lifetime int64              // of each renewal, ns
	campaign *campaign.Campaign // behind a predicate; nil: of the sequential test
	begun    int64              // of a predicate: event time of its first line
	proved   int64              // of a predicate: event time of the last attempt that was held against it
	policy   *policy.Policy     // by which it acts; nil: an operator's
	silent   bool               // on the allow-list: never written
	noted    bool               // its policy asks for nothing but the finding: never written
	dear     bool               // it would hit too many customers, or nobody can carry it: never written
	entity   *entity            // that meets an operator's own policy; nil: found by a detector
	foreign  bool               // made by an operator: followed, not renewed
	marked   int64              // event time at which its marker was last seen; 0: never
	shows    bool               // while it was in force requests of it have been seen or counted
	written  int64              // event time of its last line
	since    uint64             // requests of the subject seen or counted since then
	tookBack bool               // it hit customers, see rollBack
	refused  refusedLogins
	cost     int64 // see costOf
	place    int   // in the heap
}

// unwritten reports whether it only keeps its subject from being found again.
func (a *active) unwritten() bool { return a.silent || a.noted || a.dear }

// detectors reports whether it is of a detector: neither an operator's nor by an
// operator's own policy.
func (a *active) detectors() bool { return !a.foreign && a.entity == nil }

// lapse is how long refusals alone keep a predicate alive, ns.
const lapse = 3600e9

// renewAfter is the part of its lifetime after which a verdict's renewal is
// written: often enough that it never ends between two pieces of evidence of
// one attack, seldom enough to be readable.
const renewAfter = 0.25

// verdicts are the verdicts in force, by id, by subject and by expiry.
type verdicts struct {
	byID      map[string]*active
	bySubject map[detect.Subject]*active // those of detectors
	byClient  map[netip.Prefix]*active   // of these, those about a client alone
	byEntity  map[entity]*active         // those by an operator's own policies
	// predicates are those about an endpoint and software, and no client.
	predicates map[predicate][]*active
	cost       int64 // of predicates by an operator's own policies: thousandths of logins per million
	expiries   expiries
}

// predicate is where a verdict about software is looked for.
type predicate struct{ endpoint, fingerprint string }

// predicateOf is where a subject is looked for; not ok if it is none of those.
func predicateOf(s *detect.Subject) (p predicate, ok bool) {
	return predicate{s.Endpoint, s.Fingerprint}, !s.Client.IsValid() && s.Endpoint != "" && s.Session == "" && s.UserHash == "" && s.Domain == ""
}

// costOf is what a verdict spends of the budget.
func costOf(a *active) int64 {
	if a.entity == nil || a.unwritten() || a.verdict.Subject.Client.IsValid() {
		return 0
	}
	return int64(1000 * a.verdict.Expected.LegitimateRequestsPerMillion)
}

// spent is what the predicates in force by an operator's own policies hit, of a
// million legitimate logins.
func (v *verdicts) spent() float64 { return float64(v.cost) / 1000 }

func newVerdicts() *verdicts {
	return &verdicts{
		byID: make(map[string]*active), bySubject: make(map[detect.Subject]*active), byClient: make(map[netip.Prefix]*active),
		byEntity: make(map[entity]*active), predicates: make(map[predicate][]*active),
	}
}

func (v *verdicts) add(a *active) {
	v.byID[a.verdict.ID] = a
	switch {
	case a.entity != nil:
		v.byEntity[*a.entity] = a
	case !a.foreign:
		v.bySubject[a.verdict.Subject] = a
		if s := &a.verdict.Subject; aboutClient(s) {
			v.byClient[s.Client] = a
		}
	}
	if p, ok := predicateOf(&a.verdict.Subject); ok {
		v.predicates[p] = append(v.predicates[p], a)
	}
	a.cost = costOf(a)
	v.cost += a.cost
	heap.Push(&v.expiries, a)
}

func (v *verdicts) remove(a *active) {
	heap.Remove(&v.expiries, a.place)
	delete(v.byID, a.verdict.ID)
	switch {
	case a.entity != nil:
		delete(v.byEntity, *a.entity)
	case !a.foreign:
		delete(v.bySubject, a.verdict.Subject)
		if s := &a.verdict.Subject; aboutClient(s) {
			delete(v.byClient, s.Client)
		}
	}
	v.cost -= a.cost
	if p, ok := predicateOf(&a.verdict.Subject); ok {
		rest := slices.DeleteFunc(v.predicates[p], func(o *active) bool { return o == a })
		if len(rest) == 0 {
			delete(v.predicates, p)
		} else {
			v.predicates[p] = rest
		}
	}
}

// sameOwn finds the verdict in force about software by one of the operator's own
// policies: what several API keys are abused by is acted against, and paid for, once.
func (v *verdicts) sameOwn(p *policy.Policy, s *detect.Subject) *active {
	at, ok := predicateOf(s)
	if !ok {
		return nil
	}
	for _, a := range v.predicates[at] {
		if a.entity != nil && a.entity.policy == p.Name && a.verdict.Subject == *s && !a.unwritten() {
			return a
		}
	}
	return nil
}

// aboutClient reports whether a subject is a client and nothing else.
func aboutClient(s *detect.Subject) bool { return *s == detect.Subject{Client: s.Client} }

func (v *verdicts) ofClient(p netip.Prefix) *active { return v.byClient[p] }

// inOrder lists the verdicts by their ids.
func (v *verdicts) inOrder() []*active {
	return slices.SortedFunc(maps.Values(v.byID), func(a, b *active) int { return strings.Compare(a.verdict.ID, b.verdict.ID) })
}

// covering finds the verdict that an attempt's subject is under: of its
// network, or of its address.
func (v *verdicts) covering(r *sequential.Result) *active {
	if r.Network.Subject.IsValid() {
		if a := v.ofClient(r.Network.Subject); a != nil {
			return a
		}
	}
	return v.ofClient(r.Address.Subject)
}

// judge does what the detector's signals ask for.
func (e *Engine) judge(at *place, r *sequential.Result) {
	if r.Repeated {
		e.stats.Repeated++
	}
	switch {
	case r.Network.Guilty:
		if a := e.verdicts.ofClient(r.Network.Subject); a != nil {
			e.evidence(a, at, r.Network.Cracking)
			return
		}
		e.convict(at, &r.Network)
	case r.Address.Guilty:
		if a := e.verdicts.covering(r); a != nil {
			e.evidence(a, at, r.Address.Cracking)
			return
		}
		e.convict(at, &r.Address)
	default:
		veto := max(r.Address.Veto, r.Network.Veto)
		switch veto {
		case sequential.VetoKnownGood:
			e.stats.VetoKnownGood++
		case sequential.VetoOutage:
			e.stats.VetoOutage++
		case sequential.VetoUnanchored:
			e.stats.VetoUnanchored++
		}
	}
}

// convict makes a finding about a subject and, unless it is on the allow-list,
// a verdict.
func (e *Engine) convict(at *place, s *sequential.Signal) {
	evidence := e.sequential.Evidence(s.Subject)
	subject := detect.Subject{Client: s.Subject}
	a := &active{silent: overlapsAny(e.cfg.Allow, s.Subject), written: e.clock, policy: e.policies.Get(policy.Stuffing)}
	if s.Cracking {
		a.policy = e.policies.Get(policy.Cracking)
	}
	a.finding = detect.Finding{ID: detect.NewID(Rule, subject, e.clock), Subject: subject}
	e.describe(&a.finding, at, s.Cracking, &evidence)
	e.stats.Findings++
	e.writeFinding(a)
	if len(e.verdicts.byID) >= e.cfg.Verdicts {
		e.stats.VetoCapacity++
		e.sequential.End(s.Subject, e.clock)
		return
	}
	strikes := e.sequential.Begin(s.Subject, e.clock)
	a.lifetime = e.lifetime(a.policy, strikes)
	a.verdict = detect.Verdict{
		ID: detect.NewID("verdict:"+Rule, subject, e.clock), Subject: subject,
		Findings: []string{a.finding.ID},
	}
	if e.verdicts.byID[a.verdict.ID] != nil {
		return // the same decision; it stands
	}
	a.verdict.Expires = e.clock + a.lifetime
	a.verdict.Expected = detect.Expected{
		AttackRequestsPerMinute:      round(evidence.AttemptsPerMinute, 2),
		LegitimateRequestsPerMillion: round(evidence.LegitimatePerMillion, 2),
	}
	a.verdict.Message = verdictMessage(a, a.finding.Technique, strikes)
	e.pronounce(a)
}

// pronounce puts a new verdict in force as its policy says, written unless that
// asks for nothing or it is on the allow-list.
func (e *Engine) pronounce(a *active) {
	e.orders(a)
	e.verdicts.add(a)
	switch {
	case a.silent:
		e.stats.VetoAllowed++
		return
	case a.noted:
		e.stats.VetoPolicy++
		return
	case a.dear:
		e.stats.VetoPrice++
		return
	}
	if a.policy.Account {
		e.stats.Holds++
	} else {
		e.stats.Verdicts++
	}
	e.writeVerdict(a)
	e.witness.Add(&a.verdict)
}

// evidence is a failure seen although the subject is under a verdict.
func (e *Engine) evidence(a *active, at *place, cracking bool) {
	a.since++
	if !e.due(a) {
		return
	}
	v := e.sequential.Evidence(a.verdict.Subject.Client)
	e.describe(&a.finding, at, cracking, &v)
	e.writeFinding(a)
	a.verdict.Expected.LegitimateRequestsPerMillion = round(v.LegitimatePerMillion, 2)
	e.renew(a)
}

// refusals are requests that a load balancer refused by order of a verdict.
// They keep it alive, whatever they asked for, and are no evidence of anything
// else.
func (e *Engine) refusals(a *active, count uint64) {
	if a.foreign {
		return
	}
	a.shows = true
	if a.campaign != nil {
		a.campaign.Refused(e.clock)
	}
	if a.campaign != nil || a.entity != nil && !a.verdict.Subject.Client.IsValid() {
		// Who is refused by a predicate may be a customer by now. It lapses now and
		// then, and what comes through says whether it is still right.
		if e.clock-a.proved > lapse {
			return
		}
	}
	a.since += count
	if e.due(a) {
		e.renew(a)
	}
}

func (e *Engine) due(a *active) bool {
	return e.clock-a.written >= int64(renewAfter*float64(a.lifetime))
}

// renew writes a verdict anew, with a later expiry.
func (e *Engine) renew(a *active) {
	minutes := float64(e.clock-a.written) / 60e9
	a.verdict.Expected.AttackRequestsPerMinute = round(float64(a.since)/max(minutes, 1.0/60), 2)
	a.written, a.since = e.clock, 0
	a.verdict.Expires = max(a.verdict.Expires, e.clock+a.lifetime)
	heap.Fix(&e.verdicts.expiries, a.place)
	if a.unwritten() {
		return
	}
	e.stats.Renewals++
	e.writeVerdict(a)
}

// relabel writes a verdict anew if it carries another mode than the present one.
func (e *Engine) relabel(a *active) {
	if !a.unwritten() && a.verdict.Mode != e.mode(a.policy) && a.verdict.Expires > e.clock {
		e.writeVerdict(a)
	}
}

func (e *Engine) writeVerdict(a *active) {
	// One that came from outside (an operator, an earlier run) may be ahead.
	a.verdict.Time = max(a.verdict.Time, e.clock)
	a.verdict.Mode = e.mode(a.policy)
	line := a.verdict
	line.Findings = slices.Clone(line.Findings)
	e.sink.Verdict(&line)
}

func (e *Engine) writeFinding(a *active) {
	a.finding.Time = e.clock
	line := a.finding
	line.Evidence.Terms = slices.Clone(line.Evidence.Terms)
	line.Evidence.Events = slices.Clone(line.Evidence.Events)
	e.sink.Finding(&line)
}

// expire ends the verdicts that ran out by now. Nothing is written: every
// reader knows the expiry.
func (e *Engine) expire() {
	for len(e.verdicts.expiries) > 0 {
		a := e.verdicts.expiries[0]
		if a.verdict.Expires > e.clock {
			return
		}
		e.drop(a)
		e.ended(a, a.verdict.Expires)
		if !a.unwritten() && !a.foreign {
			e.stats.Expired++
		}
	}
}

// ended tells the sequential test that a verdict of its own is over.
func (e *Engine) ended(a *active, at int64) {
	if a.detectors() && addressAlone(a.verdict.Subject) {
		e.sequential.End(a.verdict.Subject.Client, at)
	}
}

// addressAlone reports whether a subject is one of the sequential test's: an
// address, or an IPv6 /64, and nothing else.
func addressAlone(s detect.Subject) bool {
	c := s.Client
	return c.IsValid() && s == detect.Subject{Client: c} && (c.IsSingleIP() || c.Addr().Is6() && c.Bits() == 64)
}

func (e *Engine) drop(a *active) {
	e.verdicts.remove(a)
	e.witness.Remove(a.verdict.ID)
}

// SetNetworks replaces the databases of networks.
func (e *Engine) SetNetworks(d *network.Database) {
	s := e.Stats()
	e.stats.NetworkEvictions, e.stats.NetworksDamaged = s.NetworkEvictions, s.NetworksDamaged
	e.cfg.Networks = d
}

// SetAllow replaces the allow-list. Active verdicts that touch it end, an
// operator's among them, with a lift line each, in the order of their ids.
func (e *Engine) SetAllow(networks []netip.Prefix) {
	e.cfg.Allow = slices.Clone(networks)
	for _, a := range e.verdicts.inOrder() {
		if a.silent == overlapsAny(networks, a.verdict.Subject.Client) {
			continue
		}
		e.lift(a, "is on the allow-list now")
	}
}

// lift ends a verdict, with a line that says why unless it was never written.
func (e *Engine) lift(a *active, why string) {
	e.drop(a)
	e.ended(a, e.clock)
	if a.unwritten() {
		return
	}
	if !a.foreign {
		e.stats.Lifted++
	}
	a.verdict.Action = detect.ActionLift
	a.verdict.Rate = detect.Rate{}
	a.verdict.Expires = e.clock
	a.verdict.Message = "Lifted: " + plain.Subject(a.verdict.Subject) + " " + why + "."
	e.writeVerdict(a)
}

// Lifted says that an operator ended a verdict: its subject starts anew, with
// no score and no record. It writes no line, the operator's act being no
// decision of the engine. Unknown ids are ignored.
func (e *Engine) Lifted(id string) {
	a := e.verdicts.byID[id]
	if a == nil {
		return
	}
	e.drop(a)
	if !a.foreign {
		e.stats.Lifted++
		if a.entity != nil {
			e.own.pardon(a.entity)
		} else if a.campaign == nil && addressAlone(a.verdict.Subject) {
			e.sequential.Pardon(a.verdict.Subject.Client, e.clock)
		} else {
			e.campaigns.Pardon(a.verdict.Subject)
		}
	}
}

// Watch makes the witness follow a verdict that the engine did not make, such
// as an operator's, until it expires or is lifted. Given again it takes the
// new expiry. It does nothing if too many verdicts are active. One that carries
// another mode than the present one is written anew.
func (e *Engine) Watch(v *detect.Verdict) {
	if a := e.verdicts.byID[v.ID]; a != nil {
		if a.foreign {
			a.verdict.Expires = v.Expires
			heap.Fix(&e.verdicts.expiries, a.place)
		}
		return
	}
	if v.Expires <= e.clock || len(e.verdicts.byID) >= e.cfg.Verdicts {
		return
	}
	a := &active{verdict: *v, foreign: true}
	e.verdicts.add(a)
	e.witness.Add(v)
	e.relabel(a)
}

// Restore carries on a verdict that the engine of an earlier run made and that
// is still in force: it is followed, and renewed by what renews any. One that
// touches the allow-list, or finds too many verdicts active, is left to end by
// itself. One that is not as its policy has it now is written anew, or lifted.
// One that the engine knows of a snapshot ([Resume]) goes on as it was last
// written.
func (e *Engine) Restore(v *detect.Verdict) {
	client := v.Subject.Client
	by := e.policies.Get(policyOf(v))
	if known := e.verdicts.byID[v.ID]; known != nil {
		e.catchUp(known, v)
		return
	}
	if old := e.verdicts.bySubject[v.Subject]; old != nil && old.verdict.Expires <= v.Time && !isOwn(by) {
		e.drop(old) // over before this one was decided, which the snapshot does not know
		e.ended(old, old.verdict.Expires)
	}
	switch {
	case v.Expires <= e.clock, len(e.verdicts.byID) >= e.cfg.Verdicts:
		return
	case e.verdicts.bySubject[v.Subject] != nil && !isOwn(by), client.IsValid() && overlapsAny(e.cfg.Allow, client):
		return
	}
	a := &active{verdict: *v, written: v.Time, proved: v.Time, policy: by}
	if isOwn(by) {
		k, ok := keyOf(by, identityOf(&v.Subject))
		if !ok { // by an API key, which it does not name
			k = policy.Key{{math.MaxUint64, number(v.ID)}}
		}
		if e.verdicts.byEntity[entity{by.Name, k}] != nil {
			return
		}
		a.entity = &entity{by.Name, k}
	}
	a.lifetime = min(max(v.Expires-v.Time, e.cfg.TTL.Nanoseconds()), detect.MaxLifetime)
	a.finding = detect.Finding{ID: detect.NewID(Rule, v.Subject, v.Time), Subject: v.Subject}
	if len(v.Findings) > 0 {
		a.finding.ID = v.Findings[0]
	}
	if a.entity == nil && addressAlone(v.Subject) {
		strikes := 1
		for last := e.cfg.TTL.Nanoseconds(); last < a.lifetime; last *= 2 {
			strikes++
		}
		e.sequential.Restore(client, strikes, v.Time)
	}
	e.stats.Restored++
	e.verdicts.add(a)
	e.witness.Add(v)
	e.reorder(a)
}

// catchUp brings a verdict to its last line, where that is later than the
// snapshot. What the configuration says about it now is Settle's.
func (e *Engine) catchUp(a *active, v *detect.Verdict) {
	if a.foreign || a.unwritten() || v.Time <= a.verdict.Time || v.Subject != a.verdict.Subject {
		return
	}
	a.verdict, a.written, a.since = *v, v.Time, 0
	heap.Fix(&e.verdicts.expiries, a.place)
}

// Ended ends the verdicts that were ended while the engine did not run, or after
// its snapshot was taken: what [Engine.Lifted] does for one.
func (e *Engine) Ended(ended func(id string) bool) {
	for _, a := range e.verdicts.inOrder() {
		if ended(a.verdict.ID) {
			e.Lifted(a.verdict.ID)
		}
	}
}

// lifetime doubles with every strike, up to the longest.
func lifetime(ttl, longest int64, strikes int) int64 {
	for range strikes {
		if ttl > longest/2 {
			return longest
		}
		ttl *= 2
	}
	return min(ttl, longest)
}

func overlapsAny(networks []netip.Prefix, p netip.Prefix) bool {
	for _, n := range networks {
		if n.Overlaps(p) {
			return true
		}
	}
	return false
}

func containsAddr(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale)/scale + 0 // of -0 it is 0
}

// expiries is a heap of verdicts, the first to expire on top; of equals the
// one with the lower id.
type expiries []*active

func (h expiries) Len() int { return len(h) }
func (h expiries) Less(i, j int) bool {
	if h[i].verdict.Expires != h[j].verdict.Expires {
		return h[i].verdict.Expires < h[j].verdict.Expires
	}
	return h[i].verdict.ID < h[j].verdict.ID
}
func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *expiries) Push(x any) {
	a := x.(*active)
	a.place = len(*h)
	*h = append(*h, a)
}
func (h *expiries) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return a
}
