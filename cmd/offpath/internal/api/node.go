package api

import (
	"encoding/json"
	"errors"
	"time"
)

// Node is what the API shows and steers: one running offpath. Its methods may
// be called from any goroutine.
type Node interface {
	// Ready lists the reasons why the process is not ready; none: it is.
	Ready() []string
	// Restored is the event time up to which the state of detection was restored at
	// the start; zero if it began anew, or there is none.
	Restored() time.Time
	// Findings returns up to limit findings, the newest first.
	Findings(limit int) []json.RawMessage
	// Explain gathers what there is about a finding or verdict, active or over; the
	// error is ErrUnknownID if there is nothing.
	Explain(id string) (Explanation, error)
	// SiteMap describes the endpoints seen in OpenAPI 3.1, as json or yaml;
	// Comparison says in JSON how they differ from a specification. The errors are
	// ErrNoSiteMap, ErrNoSpecification and ErrBusy.
	SiteMap(format string) ([]byte, error)
	Comparison() ([]byte, error)
	// Verdicts lists the active verdicts and what became of each.
	Verdicts() []Verdict
	// Targets says how each load balancer is.
	Targets() []Target
	// Audit lists what was done at the load balancers and by whose order,
	// oldest first.
	Audit() []AuditEntry
	// Decide puts an operator's own verdict in force.
	Decide(order Order, who string) (Verdict, error)
	// Lift ends a verdict; the error is ErrUnknownVerdict if none is active.
	Lift(id, who string) error
	// Approvals lists the verdicts that wait for a person, the oldest first; Approve
	// puts one in force, the error is ErrNotWaiting if it does not wait.
	Approvals() []Approval
	Approve(id, who string) error
	// Off stops all enforcement, On resumes it.
	Off(who string) error
	On(who string) error
}

// The errors of a Node that the API answers with a status of their own.
var (
	ErrNoMitigation   = errors.New("this offpath makes no verdicts: it is a sensor alone")
	ErrUnknownVerdict = errors.New("no active verdict has this id")
	ErrNotWaiting     = errors.New("no verdict of this id waits for approval")
	ErrUnknownID      = errors.New("no finding or verdict that is kept has this id")

	ErrNoSiteMap       = errors.New("this offpath keeps no site map: it is a sensor alone, or detect.sitemap is 0")
	ErrNoSpecification = errors.New("there is nothing to compare with; name the description of your API at detect.specification")
	ErrBusy            = errors.New("detection has too much to do; ask again")
)

// OrderError is an order that can't be carried out as it stands.
type OrderError struct{ Text string }

func (e *OrderError) Error() string { return e.Text }

// Order is an operator's own verdict.
type Order struct {
	Action  string            `json:"action"`
	Subject map[string]string `json:"subject"` // by the contract's names, such as client.ip
	TTL     string            `json:"ttl"`     // such as 10m; at most 24h
	Rate    *Rate             `json:"rate,omitempty"`
	Reason  string            `json:"reason"`
}

// Rate is the limit of a rate_limit order.
type Rate struct {
	Requests int    `json:"requests"`
	Per      string `json:"per"` // such as 60s
}

// Explanation is what there is about a finding or verdict.
type Explanation struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // finding or verdict
	// Verdict is its latest line, Decided the time of its first, and Lines how many
	// there were: each beyond the first renewed, changed or lifted it.
	Verdict json.RawMessage `json:"verdict,omitempty"`
	Decided string          `json:"decided,omitempty"`
	Lines   int             `json:"lines,omitempty"`
	// Findings are those behind the verdict, or the finding itself.
	Findings []json.RawMessage `json:"findings"`
	// Verdicts are those that the finding is behind, More how many there are
	// beyond them.
	Verdicts []json.RawMessage `json:"verdicts,omitempty"`
	More     int               `json:"more,omitempty"`
	// Transactions are lines of those that findings name, where they were looked
	// up.
	Transactions []json.RawMessage `json:"transactions,omitempty"`

	Live   bool         `json:"live"`             // a running offpath says so, not files
	Active *Verdict     `json:"active,omitempty"` // as it is in force; absent: it is not, or not known
	Audit  []AuditEntry `json:"audit,omitempty"`  // what was done about the verdict, oldest first
}

// Verdict is an active verdict and what became of it.
type Verdict struct {
	Verdict     json.RawMessage `json:"verdict"`       // as in the JSON Lines
	Who         string          `json:"who,omitempty"` // the operator that ordered it; absent: detection
	Since       time.Time       `json:"since"`         // when it first was in force here
	Enforcement *Enforcement    `json:"enforcement,omitempty"`
	Targets     []TargetVerdict `json:"targets"`
}

// Approval is a verdict that waits for a person's approval, and why.
type Approval struct {
	Verdict json.RawMessage `json:"verdict"`
	Who     string          `json:"who,omitempty"` // the operator that ordered it; absent: detection
	Since   time.Time       `json:"since"`
	Rail    string          `json:"rail"` // harm, pace or prefix
	Reason  string          `json:"reason"`
}

// Enforcement is what the mirror shows of a verdict.
type Enforcement struct {
	State        string     `json:"state"` // unseen, refused, answered, gone
	Refused      uint64     `json:"refused"`
	Answered     uint64     `json:"answered"`
	FirstRefused *time.Time `json:"first_refused,omitempty"`
	LastRefused  *time.Time `json:"last_refused,omitempty"`
	LastAnswered *time.Time `json:"last_answered,omitempty"`
}

// TargetVerdict is a verdict at one load balancer.
type TargetVerdict struct {
	Target  string `json:"target"`
	State   string `json:"state"` // pending, in_force, shadowed, unsupported, rejected
	Detail  string `json:"detail,omitempty"`
	Refused uint64 `json:"refused"`
	Passed  uint64 `json:"passed"`
}

// Target is how one load balancer is.
type Target struct {
	Name        string     `json:"name"`
	Type        string     `json:"type"`
	Address     string     `json:"address"`
	Connected   bool       `json:"connected"`
	Error       string     `json:"error,omitempty"`
	Since       *time.Time `json:"since,omitempty"`
	Version     string     `json:"version,omitempty"`
	Mode        string     `json:"mode,omitempty"`
	LocalOff    bool       `json:"local_off"`
	InForce     int        `json:"in_force"`
	Pending     int        `json:"pending"`
	Unsupported int        `json:"unsupported"`
	Rejected    int        `json:"rejected"`
	LagSeconds  float64    `json:"lag_seconds"`
	LastSync    *time.Time `json:"last_sync,omitempty"`
	Restarts    uint64     `json:"restarts"`
	Consumers   []Consumer `json:"consumers,omitempty"`
}

// Consumer is one who fetches from a target.
type Consumer struct {
	Name    string     `json:"name"`
	Last    *time.Time `json:"last,omitempty"`
	Late    bool       `json:"late"`
	Behind  int        `json:"behind"`
	Fetches uint64     `json:"fetches"`
	Refused uint64     `json:"refused"`
}

// AuditEntry is one thing that was done.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`
	What    string    `json:"what"`
	Verdict string    `json:"verdict,omitempty"`
	Target  string    `json:"target,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}
