// Package detect says what the traffic means: which requests are logins, how
// they ended, who is automated, and what to do about it; and, as witness, what
// became of each verdict on the wire.
//
// The root holds what detection makes: [Finding], [Verdict], [Enforcement].
// detect/engine composes the rest and consumes transactions in their order: it
// names endpoints (detect/endpoint), recognises logins (detect/login), tells
// how they ended (detect/outcome) unless an operator knows better
// (detect/override), tests clients by their failures (detect/sequential), finds
// campaigns by their excess (detect/campaign), does about them what the policies
// say (detect/policy), follows verdicts on the wire (detect/witness), counts a
// request seen on both sides of a load balancer once (detect/legs) and keeps a map
// of the endpoints (detect/sitemap).
// detect/jsonl writes findings and verdicts, detect/stream carries
// transactions and verdicts over Kafka.
//
// Time is event time: an engine has no clock but the transactions' ends.
package detect

import "net/netip"

// Action is what a load balancer is asked to do.
type Action string

// The actions of the contract.
const (
	ActionBlock     Action = "block"
	ActionRateLimit Action = "rate_limit"
	ActionChallenge Action = "challenge"
	ActionDeceive   Action = "deceive"
	ActionTag       Action = "tag"
	ActionHold      Action = "hold"
	ActionLift      Action = "lift" // ends the verdict of the same id
)

// Mode says whether verdicts are acted on.
type Mode string

// The modes. A verdict carries monitor or enforce.
const (
	ModeOff     Mode = "off"
	ModeMonitor Mode = "monitor"
	ModeEnforce Mode = "enforce"
)

// MaxLifetime is the longest that a verdict may last after it was decided or
// renewed, ns.
const MaxLifetime int64 = 24 * 3600 * 1e9

// Subject is a predicate on requests: all members that are set must match.
type Subject struct {
	Client      netip.Prefix // client.ip: an address (full length) or a network
	Fingerprint string       // offpath.fingerprint
	UserAgent   string       // user_agent.original
	JA4         string       // tls.client.ja4
	Endpoint    string       // offpath.endpoint
	Domain      string       // url.domain
	Session     string       // offpath.session
	UserHash    string       // user.hash; only with hold
}

// Rate is the limit of a rate_limit verdict, per client address.
type Rate struct {
	Requests int   // at most, in each period
	Per      int64 // period, ns; whole seconds
}

// Expected is what the engine expects a verdict to hit.
type Expected struct {
	AttackRequestsPerMinute      float64
	LegitimateRequestsPerMillion float64
}

// Verdict is a decision. A later verdict with the same ID replaces it.
type Verdict struct {
	Time     int64  // event time of the decision, ns since the epoch
	ID       string // 16 hex digits; see NewID
	Action   Action
	Subject  Subject
	Rate     Rate  // with ActionRateLimit
	Mode     Mode  // ModeMonitor or ModeEnforce
	Expires  int64 // ns since the epoch, at most MaxLifetime after Time
	Findings []string
	Policy   string // by which it was decided; "" for an operator's
	Expected Expected
	Message  string
}

// The rules: names of the detectors behind findings.
const (
	RuleLoginFailures = "sequential_login_failures" // a client whose logins fail
	RuleCampaign      = "campaign_excess"           // logins that fail together, whatever their addresses
	RuleOutage        = "login_outage"              // a login endpoint that is out of order
	RuleRollBack      = "verdict_rolled_back"       // a verdict that hits customers
	RuleUnenforced    = "verdict_not_enforced"      // a verdict that no load balancer carries out
)

// Finding is what a detector found. A later finding with the same ID replaces
// it.
type Finding struct {
	Time                   int64
	ID                     string
	Kind                   string // alert or campaign
	Rule                   string // detector
	Technique              string // OWASP Automated Threat: code and name
	Severity               int    // 0 to 100
	Subject                Subject
	WindowStart, WindowEnd int64 // ns since the epoch
	Evidence               Evidence
	Campaign               *Campaign // with Kind campaign
	Message                string
}

// Evidence is the numbers that were compared.
type Evidence struct {
	Statistic, Baseline, Threshold float64
	Terms                          []Term   // addends of the statistic
	Events                         []string // ids of transactions, at most 20
}

// Term is one addend of a log-odds sum.
type Term struct {
	Name  string
	Value float64
}

// Campaign is the state of a campaign finding.
type Campaign struct {
	ID          string
	State       string // open, closed
	Attempts    int
	Accounts    int
	AccountsHit int
	Addresses   int
}

// Account is one that a campaign touched.
type Account struct {
	Campaign    string // id
	UserHash    string
	Hit         bool  // its password was right
	First, Last int64 // attempts, ns since the epoch
}

// WireState is what the witness sees of an active verdict's subject.
type WireState string

// The states of a verdict on the wire.
const (
	WireUnseen   WireState = "unseen"   // no request of the subject since the verdict
	WireRefused  WireState = "refused"  // its requests are refused with the verdict's marker
	WireAnswered WireState = "answered" // its requests are still answered
	WireGone     WireState = "gone"     // its requests have ceased
)

// Enforcement is what became of one verdict on the wire. Times are event
// times in ns since the epoch, 0 where there was none.
type Enforcement struct {
	Verdict      string // id
	Time         int64  // of this observation
	State        WireState
	Refused      uint64 // requests seen that carried the verdict's marker
	Answered     uint64 // requests of the subject that were answered after the verdict
	FirstRefused int64
	LastRefused  int64
	LastAnswered int64
}
