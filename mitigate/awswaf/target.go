package awswaf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/turn"
)

// Kind is the type of this target in the configuration.
const Kind = "aws_waf"

// Defaults of [Options].
const (
	DefaultGroup      = "offpath"
	DefaultSets       = 2
	DefaultRules      = 10
	DefaultPace       = 1500 * time.Millisecond
	DefaultLook       = 10 * time.Second
	DefaultTimeout    = 10 * time.Second
	DefaultAttempts   = 5
	DefaultMaxBackoff = 5 * time.Second
)

// spareCapacity is for rates that come later, in web ACL capacity units.
const spareCapacity = 50

// maxSets is how many IP sets there may be: of an account and region AWS allows 100.
const maxSets = 90

// ErrNotPrepared says that the rule group or a set is missing, or that no web ACL has the group.
var ErrNotPrepared = errors.New("AWS WAF is not prepared")

// errNotCompared says that what the sets hold is not known.
var errNotCompared = errors.New("aws waf: nothing can be changed before the first full comparison")

// Options of a target. Region, AccessKey and Secret are needed.
type Options struct {
	Name   string // of the target; default: the group's
	Region string // such as eu-central-1; with CloudFront us-east-1
	// CloudFront says that it stands in front of CloudFront, and not of a region's load
	// balancers and gateways.
	CloudFront bool
	// AccessKey is the id of a key. Its secret, and the session token of one that does not
	// last (nil: none), are asked at each request, so they may change.
	AccessKey            string
	Secret, SessionToken func() ([]byte, error)
	Endpoint             string // URL of the API; default: AWS's own of the region
	Group                string // name of the rule group, and what the names of sets begin with; default [DefaultGroup]
	// Rates are what verdicts may limit to; those that AWS does not have are left out.
	Rates []detect.Rate
	// Sets is the number of IP sets, of 10,000 networks each, for each action and family
	// of addresses; default [DefaultSets].
	Sets int
	// Rules is how many verdicts about programs and domains there may be: each has a rule of
	// its own. Default [DefaultRules].
	Rules int
	// Pace is the least time between two updates of a kind; default [DefaultPace].
	Pace time.Duration
	// Look is how long what AWS said of the rule group is believed; default [DefaultLook].
	Look    time.Duration
	Timeout time.Duration // of one request; default [DefaultTimeout]
	// Attempts of a request that AWS throttles or that fails for a moment, with growing
	// pauses up to MaxBackoff; defaults [DefaultAttempts] and [DefaultMaxBackoff].
	Attempts   int
	MaxBackoff time.Duration
}

var (
	plainName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	regionName = regexp.MustCompile(`^[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}$`)
)

// CheckRegion says what is wrong with the name of a region; "" if nothing is.
func CheckRegion(region string, cloudFront bool) string {
	switch {
	case !regionName.MatchString(region):
		return "is no name of a region"
	case cloudFront && region != "us-east-1":
		return "is not us-east-1, which CloudFront's web ACLs belong to"
	}
	return ""
}

// PlainName says whether a name can be a rule group's and the beginning of those of sets.
func PlainName(name string) bool { return plainName.MatchString(name) }

func (o *Options) setDefaults() {
	o.Group = cmp.Or(o.Group, DefaultGroup)
	o.Name = cmp.Or(o.Name, o.Group)
	o.Sets = cmp.Or(o.Sets, DefaultSets)
	o.Rules = cmp.Or(o.Rules, DefaultRules)
	o.Pace = cmp.Or(o.Pace, DefaultPace)
	o.Look = cmp.Or(o.Look, DefaultLook)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Attempts = cmp.Or(o.Attempts, DefaultAttempts)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
}

// family is a kind of addresses: a set has those of one.
type family struct {
	is4     bool
	name    string
	version types.IPAddressVersion
}

var families = [...]family{{true, "ipv4", types.IPAddressVersionIpv4}, {false, "ipv6", types.IPAddressVersionIpv6}}

// Target is the rule group of one account and region, whose only writer it is.
type Target struct {
	options Options
	client  *client
	tiers   []tier

	places sync.Mutex // guards what follows
	sets   map[string]set
	group  string // its id; "": not known
	// mode and when it was read, and when the group's id was; zero: not lately.
	mode             detect.Mode
	modeAt, lookedAt time.Time
	inRules          []predicate // that rules are to have beside those of sets

	// ruler is of whoever replaces the rules, so that a mode and predicates that change
	// at once don't undo each other.
	ruler turn.Turn

	// writer is of whoever writes sets of verdicts, and guards what follows.
	writer  turn.Turn
	entries map[netip.Prefix]classed  // nil: not known what there is to be
	held    map[string][]netip.Prefix // what sets hold, by name; absent: not known
	// predicates are the verdicts that have rules of their own; written those that they have.
	predicates map[detect.Subject]predicate
	written    *[]predicate  // nil: not known
	stale      bool          // the sets may not hold what the entries say
	changed    chan struct{} // entries changed, so their next end may have
}

var (
	_ mitigate.Target = (*Target)(nil)
	_ mitigate.Runner = (*Target)(nil)
)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.setDefaults()
	t := &Target{options: o, writer: turn.New(), ruler: turn.New(), changed: make(chan struct{}, 1)}
	for _, rate := range o.Rates {
		if tier, ok := tierOf(rate); ok {
			t.tiers = append(t.tiers, tier)
		}
	}
	slices.SortFunc(t.tiers, func(a, b tier) int {
		return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.requests, b.requests))
	})
	t.tiers = slices.Compact(t.tiers)
	switch problem := CheckRegion(o.Region, o.CloudFront); {
	case problem != "":
		return nil, fmt.Errorf("aws waf target %q: %q %s", o.Name, o.Region, problem)
	case o.AccessKey == "" || o.Secret == nil:
		return nil, fmt.Errorf("aws waf target %q has no access key and secret", o.Name)
	case !plainName.MatchString(o.Group):
		return nil, fmt.Errorf("aws waf target %q: group %q is no name of letters, digits, - and _", o.Name, o.Group)
	case o.Sets < 0 || o.Rules < 0 || o.Pace < 0 || o.Look < 0 || o.Timeout < 0 || o.Attempts < 0 || o.MaxBackoff < 0:
		return nil, fmt.Errorf("aws waf target %q: a number or time is negative", o.Name)
	case len(t.tiers) > maxTiers:
		return nil, fmt.Errorf("aws waf target %q: %d different rates are more than %d", o.Name, len(t.tiers), maxTiers)
	case len(t.setNames()) > maxSets:
		return nil, fmt.Errorf("aws waf target %q: %d IP sets are more than %d", o.Name, len(t.setNames()), maxSets)
	}
	t.client = newClient(&o)
	return t, nil
}

// classes are all there are, in the order of their rules.
func (t *Target) classes() []class {
	classes := []class{classBlock}
	for _, tier := range t.tiers {
		classes = append(classes, tier.class())
	}
	return append(classes, classWatch)
}

func (t *Target) setName(class class, f family, i int) string {
	return t.options.Group + "-" + class + "-" + f.name + "-" + strconv.Itoa(i)
}

func (t *Target) allowName(f family) string { return t.options.Group + "-allow-" + f.name }

// named is the name of a set with what is in it.
type named struct {
	name   string
	family family
	allow  bool
	watch  bool // of verdicts that only watch
}

// setNames are all sets, in the order in which they are written.
func (t *Target) setNames() (all []named) {
	for _, f := range families {
		all = append(all, named{name: t.allowName(f), family: f, allow: true})
	}
	for _, class := range t.classes() {
		for _, f := range families {
			for i := range t.options.Sets {
				all = append(all, named{name: t.setName(class, f, i), family: f, watch: class == classWatch})
			}
		}
	}
	return all
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target]: as if all were of one action and family.
func (t *Target) Capacity() int { return t.options.Sets * setSize }

// Addresses implements [mitigate.Target]: none that a client could have.
func (t *Target) Addresses() []netip.Addr { return nil }

// Carries implements [mitigate.Target].
func (t *Target) Carries(e *mitigate.Entry) error {
	_, err := t.place(e)
	return err
}

// placed is where an entry belongs: a network into sets, or a predicate into a rule.
type placed struct {
	network   netip.Prefix // not valid: it is a predicate
	class     classed
	predicate predicate
}

func (t *Target) place(e *mitigate.Entry) (p placed, err error) {
	var reason string
	switch {
	case e.Expires <= 0:
		reason = fmt.Sprintf("expiry %d is no time", e.Expires)
	case isPredicate(e.Subject):
		p.predicate, reason = predicateOf(e)
	default:
		p.class = classed{id: e.ID, expires: e.Expires}
		if p.network, reason = locate(e.Subject); reason == "" {
			p.class.class, reason = t.classOf(e)
		}
	}
	if reason != "" {
		err = &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return p, err
}

func (t *Target) classOf(e *mitigate.Entry) (class, string) {
	c := classBlock
	switch e.Action {
	case detect.ActionBlock:
	case detect.ActionRateLimit:
		tier, ok := tierOf(e.Rate)
		if !ok {
			return "", fmt.Sprintf("it has no limit of %d requests per %s: at least %d, per 60, 120, 300 or 600 s", e.Rate.Requests, time.Duration(e.Rate.Per), minLimit)
		}
		if !slices.Contains(t.tiers, tier) {
			return "", fmt.Sprintf("%d requests per %d s is none of the rates that it is configured with", tier.requests, tier.seconds)
		}
		c = tier.class()
	default:
		return "", fmt.Sprintf("it has no action %q", e.Action)
	}
	if e.Monitor {
		c = classWatch
	}
	return c, ""
}

// locate says which network a subject is, that is no predicate; reason why it is none.
func locate(s detect.Subject) (client netip.Prefix, reason string) {
	switch {
	case s == detect.Subject{}:
		return client, "the subject names nothing"
	case !s.Client.IsValid() || s.Client.Addr().Zone() != "" || s.Client.Addr().Is4In6() || s.Client.Bits() == 0:
		return client, fmt.Sprintf("%s is not an address or network as seen on the wire", s.Client)
	}
	return s.Client.Masked(), ""
}

// Identity implements [mitigate.Target]: the id that AWS gave the rule group. AWS's clock
// does not matter: it ends nothing.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	t.places.Lock()
	id, lookedAt := t.group, t.lookedAt
	t.places.Unlock()
	if id == "" || time.Since(lookedAt) >= t.options.Look {
		var err error
		if id, err = t.client.findGroup(ctx, t.options.Group); err != nil {
			return mitigate.Identity{}, err
		}
		t.places.Lock()
		t.group, t.lookedAt = id, time.Now()
		t.places.Unlock()
	}
	return mitigate.Identity{Process: cmp.Or(id, "not made yet"), Version: "WAFv2"}, nil
}

// Prepared implements [mitigate.Target]. Whether a web ACL has the rule group, AWS does not
// tell from here.
func (t *Target) Prepared(ctx context.Context) error {
	g, err := t.theGroup(ctx)
	if err != nil {
		return err
	}
	if need := t.capacity(); g.capacity < need {
		return fmt.Errorf("%w: rule group %s has a capacity of %d, and %d are needed: take it out of your web ACLs and delete it, a running offpath makes it anew", ErrNotPrepared, t.options.Group, g.capacity, need)
	}
	sets, err := t.client.listSets(ctx)
	if err != nil {
		return err
	}
	for _, n := range t.setNames() {
		if _, ok := sets[n.name]; !ok {
			return fmt.Errorf("%w: there is no IP set %s: a running offpath makes it", ErrNotPrepared, n.name)
		}
	}
	return nil
}

// theGroup reads the rule group.
func (t *Target) theGroup(ctx context.Context) (ruleGroup, error) {
	identity, err := t.Identity(ctx)
	if err != nil {
		return ruleGroup{}, err
	}
	t.places.Lock()
	id := t.group
	t.places.Unlock()
	if id == "" {
		return ruleGroup{}, fmt.Errorf("%w: rule group %s is %s: a running offpath makes it, then put it into your web ACL", ErrNotPrepared, t.options.Group, identity.Process)
	}
	g, err := t.client.readGroup(ctx, t.options.Group, id)
	if isMissing(err) {
		t.places.Lock()
		t.group, t.lookedAt = "", time.Time{}
		t.places.Unlock()
		err = fmt.Errorf("%w: %w", ErrNotPrepared, err)
	}
	return g, err
}

// ensure makes the sets and the rule group that are missing.
func (t *Target) ensure(ctx context.Context) (map[string]set, error) {
	t.places.Lock()
	known := t.sets
	t.places.Unlock()
	if known != nil {
		return known, nil
	}
	sets, err := t.client.listSets(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range t.setNames() {
		if _, ok := sets[n.name]; ok {
			continue
		}
		if sets[n.name], err = t.client.makeSet(ctx, n.name, n.family); err != nil {
			return nil, err
		}
	}
	id, err := t.client.findGroup(ctx, t.options.Group)
	if err != nil {
		return nil, err
	}
	if id == "" {
		rules, err := t.rules(detect.ModeOff, nil, nil)
		if err != nil {
			return nil, err
		}
		// It can't be changed later.
		if err := t.client.makeGroup(ctx, t.options.Group, t.capacity()+spareCapacity, rules); err != nil {
			return nil, err
		}
		t.places.Lock()
		t.group, t.lookedAt = "", time.Time{}
		t.places.Unlock()
	}
	t.places.Lock()
	t.sets = sets
	t.places.Unlock()
	return sets, nil
}

// forget has the sets looked up anew, since one of them may be gone.
func (t *Target) forget() {
	t.places.Lock()
	t.sets = nil
	t.places.Unlock()
}

// SetMode implements [mitigate.Target]: the rules are replaced, the sets stay.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, _ bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	if err := t.ruler.Take(ctx); err != nil {
		return err
	}
	defer t.ruler.End()
	g, err := t.theGroup(ctx)
	if err != nil {
		return err
	}
	err = t.writeRules(ctx, g.id, mode)
	t.places.Lock()
	t.modeAt = time.Time{}
	t.places.Unlock()
	return err
}

// writeRules replaces the rules of the group. The caller is the ruler.
func (t *Target) writeRules(ctx context.Context, group string, mode detect.Mode) error {
	arns := make(map[string]string)
	if mode != detect.ModeOff {
		sets, err := t.client.listSets(ctx)
		if err != nil {
			return err
		}
		for name, s := range sets {
			arns[name] = s.arn
		}
	}
	t.places.Lock()
	predicates := t.inRules
	t.places.Unlock()
	rules, err := t.rules(mode, predicates, arns)
	if err != nil {
		return err
	}
	return t.client.writeGroup(ctx, t.options.Group, group, rules)
}

// Mode implements [mitigate.Target]. What a person overrides in a web ACL is not seen here.
func (t *Target) Mode(ctx context.Context) (detect.Mode, bool, error) {
	t.places.Lock()
	mode, modeAt := t.mode, t.modeAt
	t.places.Unlock()
	if time.Since(modeAt) < t.options.Look {
		return mode, false, nil
	}
	g, err := t.theGroup(ctx)
	if err != nil {
		return "", false, err
	}
	mode = modeOf(g.rules)
	t.places.Lock()
	t.mode, t.modeAt = mode, time.Now()
	t.places.Unlock()
	return mode, false, nil
}

// Hits implements [mitigate.Target]: AWS counts by rule, not by member of a set.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
