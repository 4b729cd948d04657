// Package policy says what is done about what is found: for each kind of thing,
// an action, how long it lasts, and whether it is enforced or only said.
//
// The kinds that detection finds by itself have predefined policies, named after
// the OWASP Automated Threats that they answer ([Predefined]). A [Statement] with
// such a name changes what it mentions and leaves the rest. One with another name is
// a policy of the operator's own: it says itself what it is about ([Condition]) and
// of whom ([Member]), and is met by who does so within its window ([Table]).
//
// A [Set] is not changed once [New] has made it, and may be read by any number of
// goroutines. Whether a verdict is enforced takes both the policy's mode and the
// mode of the whole (mitigate.mode): the milder of the two holds.
//
// The package decides nothing: detect/engine asks, and owns the tables.
package policy

import (
	"net/netip"
	"slices"
	"time"

	"offpath/detect"
)

// ActionNone stands for a finding without a verdict.
const ActionNone detect.Action = ""

// The names of the predefined policies.
const (
	Stuffing = "credential-stuffing"
	Cracking = "credential-cracking"
	Spraying = "password-spraying"
	Takeover = "account-takeover"
)

// The OWASP Automated Threats that are found: code and name.
const (
	OAT007 = "OAT-007 Credential Cracking"
	OAT008 = "OAT-008 Credential Stuffing"
)

// MaxOwn is how many policies of their own an operator may have.
const MaxOwn = 64

// Member is a part of what an entity is told by.
type Member string

// The members.
const (
	ByClient      Member = "client.ip" // of IPv6 the /64
	ByFingerprint Member = "fingerprint"
	ByUserAgent   Member = "user_agent"
	ByJA4         Member = "ja4"
	BySession     Member = "session" // the first one presented
	ByAPIKey      Member = "api_key"
	ByUser        Member = "user" // the account named in the request, which logins do
	ByEndpoint    Member = "endpoint"
)

// maxMembers is how many members an entity may be told by.
const maxMembers = 3

var members = []Member{ByClient, ByFingerprint, ByUserAgent, ByJA4, BySession, ByAPIKey, ByUser, ByEndpoint}

// Policy is what is done about one kind of thing.
type Policy struct {
	Name   string
	About  string // the kind of thing, for people
	Threat string // OWASP Automated Threat: code and name
	// Account says that its subject is an account, which no load balancer can
	// match: it is held, or nothing is done.
	Account bool

	Action detect.Action // ActionNone: finding only
	Rate   detect.Rate   // with detect.ActionRateLimit
	Mode   detect.Mode   // detect.ModeMonitor or detect.ModeEnforce
	// Of an operator's own policy: when it is met, by whom, within how long.
	Condition *Condition // nil: predefined
	When      string     // the condition's text
	Per       []Member   // what makes an entity, and the subject of its verdicts
	Window    time.Duration

	// TTL is how long a first verdict lasts, each further one against the same
	// subject twice as long, up to MaxTTL. 0: what the engine has for all.
	TTL, MaxTTL time.Duration
}

// Predefined lists the policies for what detection finds by itself, as they are
// if nothing is stated.
func Predefined() []*Policy {
	return []*Policy{
		{Name: Stuffing, Threat: OAT008, Action: detect.ActionBlock, Mode: detect.ModeEnforce,
			About: "clients, networks and what a campaign's requests have in common, which try stolen passwords"},
		{Name: Cracking, Threat: OAT007, Action: detect.ActionBlock, Mode: detect.ModeEnforce,
			About: "clients that try ever new passwords at few accounts"},
		{Name: Spraying, Threat: OAT007, Action: detect.ActionBlock, Mode: detect.ModeEnforce,
			About: "what the requests of a campaign have in common that tries one password at account after account"},
		{Name: Takeover, Threat: OAT008, Account: true, Action: detect.ActionHold, Mode: detect.ModeEnforce, TTL: 24 * time.Hour, MaxTTL: 24 * time.Hour,
			About: "accounts whose password a campaign got right"},
	}
}

// SameMatter reports whether two policies of one's own are met by the same entities.
func (p *Policy) SameMatter(o *Policy) bool {
	return p.When == o.When && p.Window == o.Window && slices.Equal(p.Per, o.Per)
}

// Example is a verdict as the policy makes them, with made-up values.
func (p *Policy) Example() *detect.Verdict {
	v := &detect.Verdict{Action: p.Action, Rate: p.Rate, Mode: p.Mode, Policy: p.Name}
	s := &v.Subject
	if p.Condition == nil && !p.Account {
		s.Client = exampleClient
	}
	for _, m := range p.Per {
		switch m {
		case ByClient:
			s.Client = exampleClient
		case ByFingerprint:
			s.Fingerprint = "0123456789abcdef"
		case ByUserAgent:
			s.UserAgent = "example/1.0"
		case ByJA4:
			s.JA4 = "t13d1516h2_8daaf6152771_b186095e22b6"
		case BySession:
			s.Session = "0123456789abcdef"
		case ByEndpoint:
			s.Endpoint = "GET bank.example/"
		}
	}
	if slices.Contains(p.Per, ByAPIKey) && (*s == detect.Subject{Endpoint: s.Endpoint}) {
		s.Fingerprint, s.Endpoint = "0123456789abcdef", "GET bank.example/"
	}
	if p.Account {
		s.UserHash = "0123456789abcdef"
	}
	return v
}

var exampleClient = netip.MustParsePrefix("192.0.2.1/32")

// Set is the policies in force.
type Set struct {
	list   []*Policy
	own    []*Policy
	byName map[string]*Policy
}

// Policies lists them: the predefined ones first. They must not be changed.
func (s *Set) Policies() []*Policy { return s.list }

// Own lists the operator's own, at most [MaxOwn]. They must not be changed.
func (s *Set) Own() []*Policy { return s.own }

// NeedsKind reports whether a condition asks what kind of endpoint it is.
func (s *Set) NeedsKind() bool {
	return slices.ContainsFunc(s.own, func(p *Policy) bool { return p.Condition.kind })
}

// Get finds a policy; nil if there is none of that name.
func (s *Set) Get(name string) *Policy { return s.byName[name] }

func (s *Set) add(p *Policy) {
	s.list = append(s.list, p)
	s.byName[p.Name] = p
	if p.Condition != nil {
		s.own = append(s.own, p)
	}
}
