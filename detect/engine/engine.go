// Package engine composes the detectors: it consumes transactions in their
// order and makes annotations, findings and verdicts of them.
//
// An Engine belongs to one goroutine: no method may run concurrently with
// another. Its clock is event time, the ends of the transactions and
// [Engine.Advance]; its state, and so every line that it writes, is a function
// of the sequence of calls and nothing else. Memory is bounded by [Config];
// what is forgotten for want of room is counted in [Stats].
//
// It decides about client addresses and IPv6 /64 networks by the sequential
// test of failed logins (detect/sequential), and about what the attempts of a
// campaign have in common by their excess (detect/campaign), and does about it what
// policies say (detect/policy): the predefined ones, and an operator's own, which it
// asks about each request that was not refused. A login whose
// outcome is not known for certain, or that the load balancer refused, feeds
// them nothing. A predicate is lifted when its campaign is over and that would
// have shown; any other verdict for which evidence, refusals and hits have ceased
// simply ends.
package engine

import (
	"math"
	"slices"
	"strings"

	"offpath/detect"
	"offpath/detect/campaign"
	"offpath/detect/legs"
	"offpath/detect/login"
	"offpath/detect/outcome"
	"offpath/detect/override"
	"offpath/detect/policy"
	"offpath/detect/sequential"
	"offpath/detect/sitemap"
	"offpath/detect/witness"
	"offpath/reassembly"
)

// Sink receives what the engine decides, in the order of event time. What the
// pointers point to is the receiver's. A Sink must not call the engine.
type Sink interface {
	Finding(*detect.Finding)
	Verdict(*detect.Verdict)
}

// Engine is the detection of one process.
type Engine struct {
	cfg        Config
	sink       Sink
	clock      int64 // event time, ns since the epoch
	legs       *legs.Matcher
	places     *places
	sessions   *sessions
	sequential *sequential.Detector
	campaigns  *campaign.Detector
	verdicts   *verdicts
	hits       []hit // in the order in which they were read
	policies   *policy.Set
	changed    map[string]bool // own policies that are about something else than in the snapshot, until Settle
	own        *own            // policies of the operator's own at work; nil: there are none
	witness    *witness.Book
	outcomes   [outcome.Classes]uint64 // logins by class
	stats      Stats
}

// Evidence is remembered for this many clients, repeated attempts for this
// many logins.
const (
	maxDossiers = 1 << 14
	maxRepeats  = 1 << 18
)

// late is how far behind the clock a transaction is counted as late, ns: merged inputs
// differ by seconds, those of a sensor that was cut off by hours.
const late = 60e9

// New makes an Engine that hands its decisions to sink.
func New(cfg Config, sink Sink) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	policies := cfg.Policies
	if policies == nil {
		var err error
		if policies, err = policy.New(nil); err != nil {
			return nil, err
		}
	}
	cfg.Allow, cfg.TrustedProxies = slices.Clone(cfg.Allow), slices.Clone(cfg.TrustedProxies)
	return &Engine{
		cfg: cfg, sink: sink,
		legs: legs.New(), places: newPlaces(cfg.Endpoints, cfg.Map), sessions: newSessions(),
		sequential: sequential.New(sequential.Config{
			Entities: cfg.Entities, Dossiers: maxDossiers, Repeats: maxRepeats,
			Baseline: cfg.Baseline, FalseAlarm: cfg.FalseAlarm, KnownGoodShare: cfg.KnownGoodShare,
		}),
		campaigns: campaign.New(campaign.Config{
			Cells: cfg.Cells, Pairs: cfg.Entities, Repeats: maxRepeats,
			Baseline: cfg.Baseline, FalseAlarm: cfg.FalseAlarm, Budget: cfg.Budget, Accounts: cfg.Accounts,
		}),
		verdicts: newVerdicts(), policies: policies, own: (*own)(nil).with(policies), witness: witness.NewBook(),
	}, nil
}

// Observe takes the next transaction in the order of [reassembly.Less], fills
// in its Annotation and decides what it decides. It keeps no reference to tx.
func (e *Engine) Observe(tx *reassembly.Transaction) {
	e.Advance(tx.End)
	e.stats.Transactions++
	if e.clock-tx.End > late {
		e.stats.Late++
	}
	// Not by a clock that runs on between transactions: a capture that was cut
	// there would lack the line, and one read in other batches have it at another
	// time.
	e.campaigns.Close(e.clock, e.campaignClosed)
	if annotation, second := e.legs.Second(tx); second {
		tx.Annotation = annotation
		e.stats.SecondLegs++
		return
	}
	tx.Annotation = reassembly.Annotation{}
	if tx.Request.Method == "" { // a response without its request
		if tx.RefusedBy == "" || e.refused(tx) {
			e.witness.Observe(tx)
		}
		return
	}
	at := e.places.get(tx)
	tx.Annotation.Endpoint = at.name
	if tx.RefusedBy != "" {
		tx.Annotation.Role = role(tx, login.FromRequest(tx, at.kind)|at.learned, at, e.cfg.Overrides.Of(tx))
		if e.refused(tx) {
			e.witness.Observe(tx)
		}
	} else {
		at.closed = at.closed || turnsAway(tx)
		e.sessions.use(tx, at)
		e.login(tx, at)
		if e.own != nil {
			e.ownPolicies(tx, at)
		}
		e.witness.Observe(tx)
		if e.cfg.Map != nil {
			e.cfg.Map.Observe(tx)
		}
	}
	e.legs.First(tx)
}

// refused handles a request that the load balancer refused: its outcome is
// unknown, and it does nothing but keep its verdict alive. It reports whether
// there is such a verdict against the client.
func (e *Engine) refused(tx *reassembly.Transaction) bool {
	e.stats.Refused++
	tx.Annotation.EventOutcome = outcome.Unknown.Event()
	a := e.verdicts.byID[tx.RefusedBy]
	if a == nil || !e.against(a, tx) {
		e.stats.RefusedStale++
		return false
	}
	a.marked = e.clock
	e.refusals(a, 1)
	e.lookAtRefused(a, tx)
	return true
}

// against reports whether a verdict can be what a client was refused for. A
// server that is not the load balancer may answer with any marker, and keep a
// verdict against somebody else alive. Where the client is not known (a
// response without its request, through a proxy) the marker has to do.
func (e *Engine) against(a *active, tx *reassembly.Transaction) bool {
	client := tx.Client.Unmap().WithZone("")
	return !a.verdict.Subject.Client.IsValid() || !client.IsValid() ||
		a.verdict.Subject.Client.Contains(client) || containsAddr(e.cfg.TrustedProxies, client)
}

// login tells whether a request is a login and how it ended, and feeds the
// detector.
func (e *Engine) login(tx *reassembly.Transaction, at *place) {
	shown, unread := shownBy(tx, at)
	known := e.cfg.Overrides.Of(tx)
	var answer outcome.Answer
	if role := role(tx, shown|at.learned, at, known); role == login.RoleLogin || role == "" && known.Role == "" && mayBeLogin(shown, at.kind) {
		answer = at.model.Judge(tx)
		at.learned |= at.model.Learned()
		if answer.Learnable {
			e.sessions.issue(tx, at, answer.Cluster)
		}
	}
	evidence := shown | at.learned
	tx.Annotation.Role = role(tx, evidence, at, known)
	if tx.Annotation.Role != login.RoleLogin {
		e.visit(tx)
		return
	}
	if known.Told {
		answer.Class = known.Outcome
	}
	at.logins++
	at.rank = max(at.rank, 1)
	if evidence.Score() > at.shown.Score() {
		at.shown = evidence
	}
	tx.Annotation.Outcome = answer.Class.String()
	tx.Annotation.EventOutcome = answer.Class.Event()
	e.outcomes[answer.Class]++
	client := tx.Client.Unmap().WithZone("")
	if answer.Class == outcome.Outage {
		e.sequential.Down(&at.stratum, client, e.clock)
		e.campaignDown(&campaign.Attempt{Time: e.clock, Event: tx.ID, Name: at.name, At: &at.campaign})
	}
	if tx.Annotation.EventOutcome == outcome.Unknown.Event() {
		return
	}
	if !client.IsValid() || containsAddr(e.cfg.TrustedProxies, client) {
		e.stats.NoClient++
		return
	}
	right := answer.Class == outcome.Accepted || answer.Class == outcome.MFARequired
	if right {
		at.rank = 2
	}
	account := number(tx.Auth.UserHash)
	if unread {
		account = number(tx.ID) // not known to be one that was tried before
	}
	attempt := campaign.Attempt{
		Time: e.clock, Event: tx.ID, Name: at.name, At: &at.campaign, Client: client,
		Account: account, Password: number(tx.Auth.PasswordHash), UserHash: tx.Auth.UserHash,
		Right:       right,
		Fingerprint: tx.Fingerprint, UserAgent: tx.Request.UserAgent, JA4: tx.JA4,
	}
	if e.judgeCampaign(&attempt) && !right {
		return // who is behind the address, and who else, is no matter
	}
	result := e.sequential.Observe(&sequential.Attempt{
		Time: e.clock, Event: tx.ID, Client: client, Account: account, Password: attempt.Password, Right: right, Stratum: &at.stratum,
	})
	e.judge(at, &result)
}

// role is what an operator says that a request does, or else what is evident.
func role(tx *reassembly.Transaction, evidence login.Evidence, at *place, known override.Opinion) string {
	switch known.Role {
	case "":
		return login.Role(tx, evidence, at.kind)
	case override.None:
		return ""
	}
	return known.Role
}

// visit remembers that a client asked for something that is no login, and got
// it: its software does what customers' software does before a login. With a
// session it does what follows one, which whoever breaks in does too.
func (e *Engine) visit(tx *reassembly.Transaction) {
	if len(tx.Auth.SessionPresented) > 0 {
		return
	}
	client := tx.Client.Unmap().WithZone("")
	if status := tx.Response.Status; status < 200 || status >= 400 || !client.IsValid() {
		return
	}
	e.campaigns.Visit(client, tx.Fingerprint, e.clock)
}

// maxRead is how many octets of a body the sensor reads credentials from.
const maxRead = 16 << 10

// shownBy is what a request shows of a login. Where logins are known to
// succeed, what they ignore does not disguise one: a second password field, or
// a body so long that its credentials were not read (unread).
func shownBy(tx *reassembly.Transaction, at *place) (shown login.Evidence, unread bool) {
	shown = login.FromRequest(tx, at.kind)
	if at.rank < 2 {
		return shown, false
	}
	shown &^= login.SeveralPasswords
	if !shown.Credentials() && tx.Request.BodyBytes > maxRead && at.shown.Credentials() && isLoginPath(at.kind) {
		return shown&^login.PageRequest | login.Password, true
	}
	return shown, false
}

// mayBeLogin says of what requests' answers are studied although they are not
// known to be logins: those with credentials, and those that change something
// at a path with a login's words.
func mayBeLogin(shown login.Evidence, kind login.Kind) bool {
	return shown.Credentials() || shown&login.PageRequest == 0 && isLoginPath(kind)
}

// Advance says that every later transaction ends at clock (ns since the epoch)
// or after. [math.MaxInt64], the end of input, is ignored: there, the verdicts
// stay what they are.
func (e *Engine) Advance(clock int64) {
	if clock == math.MaxInt64 || clock <= e.clock {
		return
	}
	e.clock = clock
	e.takeHits()
	e.expire()
}

// Close ends the engine. Nothing is decided at the end of input.
func (e *Engine) Close() {}

// SetMode changes the mode that verdict lines carry. Those in force, an
// operator's among them, are written anew with it, in the order of their ids:
// they may last for hours.
func (e *Engine) SetMode(mode detect.Mode) {
	e.cfg.Mode = mode
	for _, a := range e.verdicts.inOrder() {
		e.relabel(a)
	}
}

// Enforcements is what became of each active verdict on the wire, in the order
// of their ids.
func (e *Engine) Enforcements() []detect.Enforcement { return e.witness.Enforcements(e.clock) }

// Enforcement is what became of one verdict on the wire; not ok if it is not
// followed.
func (e *Engine) Enforcement(id string) (detect.Enforcement, bool) {
	return e.witness.Enforcement(id, e.clock)
}

// Login is an endpoint that was recognised as a login.
type Login struct {
	Endpoint string
	Attempts uint64
	Score    float64       // log-odds of being a login, of the plainest request
	Terms    []detect.Term // addends of the Score
}

// Logins lists the recognised logins by name, with the evidence for each.
func (e *Engine) Logins() []Login {
	var list []Login
	for _, p := range e.places.list {
		if p.rank > 0 {
			list = append(list, Login{Endpoint: p.name, Attempts: p.logins, Score: p.shown.Score(), Terms: p.shown.Terms()})
		}
	}
	slices.SortFunc(list, func(a, b Login) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return list
}

// Active lists the verdicts in force that the engine made, as last written, in
// the order of their ids.
func (e *Engine) Active() []detect.Verdict {
	var list []detect.Verdict
	for _, a := range e.verdicts.byID {
		if !a.unwritten() && !a.foreign {
			list = append(list, a.verdict)
		}
	}
	slices.SortFunc(list, func(a, b detect.Verdict) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Map is a copy of the map of endpoints; nil if none is made.
func (e *Engine) Map() *sitemap.Map {
	if e.cfg.Map == nil {
		return nil
	}
	return e.cfg.Map.Copy()
}

// Stats returns the books as they stand.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Logins = make(map[string]uint64)
	for class, n := range e.outcomes {
		name := outcome.Class(class).String()
		if name == "" {
			name = "unknown"
		}
		s.Logins[name] += n
	}
	if e.cfg.Networks != nil {
		n := e.cfg.Networks.Stats()
		s.NetworkEvictions += n.Replaced
		s.NetworksDamaged += n.Damaged
	}
	s.OverridesTooDear += e.cfg.Overrides.TooDear()
	c := e.campaigns.Stats()
	s.Campaigns, s.VetoBudget, s.VetoCampaigns = c.Campaigns, c.OverBudget, c.NoRoom
	s.CellEvictions, s.Cells, s.OpenCampaigns = c.Evictions, c.Cells, c.Open
	s.PolicyEntities, s.PolicyEvictions = e.own.held()
	d := e.sequential.Stats()
	s.Entities, s.EntityEvictions, s.DossierEvictions = d.Entities, d.EntityEvictions, d.DossierEvictions
	s.Endpoints, s.EndpointEvictions = len(e.places.list), e.places.evictions
	s.Names = e.places.learner.Stats()
	if m := e.cfg.Map; m != nil {
		s.Mapped, s.MapForgotten, s.MapLost = m.Len(), m.Forgotten(), m.Lost()
	}
	for _, p := range e.places.list {
		if p.rank > 0 {
			s.LoginEndpoints++
		}
	}
	for _, a := range e.verdicts.byID {
		if !a.unwritten() && !a.foreign {
			s.ActiveVerdicts++
		}
	}
	return s
}
