package controller

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/mitigate"
)

// whoDetection is the name in the audit log of what no person ordered.
const whoDetection = "detection"

// whoController is the name of what follows from a rule, such as expiry.
const whoController = "controller"

// Controller is described in the package documentation. Its methods may be
// called concurrently, before, during and after Run.
type Controller struct {
	config  Config
	workers []*worker
	audit   *auditLog
	journal *journal // nil without a StateDir

	mu      sync.Mutex
	rails   rails
	desired *desired
	waiting map[mitigate.ID]*waitingItem // for approval
	pace    pace
	lifted  *tombstones
	mode    detect.Mode
	release uint64 // counts On, each of which ends local offs
	off     switchState
	stats   Stats

	turning sync.Mutex // held while the kill switch is turned and written down
	hitsMu  sync.Mutex // serializes OnHits
}

// New makes a Controller and reads what StateDir remembers. A state that can't
// be read is an error: to forget that enforcement was off would be worse than
// not to start.
func New(config Config) (*Controller, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	c := &Controller{
		config:  config,
		desired: newDesired(),
		waiting: make(map[mitigate.ID]*waitingItem),
		lifted:  newTombstones(),
		mode:    config.Mode,
		stats:   Stats{Refused: make(map[string]uint64)},
		rails: rails{
			allow:       canonicalNetworks(config.Allow),
			own:         canonicalNetworks(config.Own),
			targets:     config.Targets,
			private:     config.Private,
			maxLifetime: config.MaxLifetime,
		},
	}
	for _, t := range config.Targets {
		c.workers = append(c.workers, newWorker(c, t))
		if i, ok := t.(mitigate.Informer); ok {
			i.Inform(c.verdict)
		}
	}
	var err error
	if c.audit, err = openAudit(config.StateDir, config.AuditRing, config.AuditFileBytes); err != nil {
		return nil, err
	}
	if config.StateDir == "" {
		return c, nil
	}
	if err := c.restore(); err != nil {
		return nil, err
	}
	return c, nil
}

// restore reads the kill switch and the active verdicts.
func (c *Controller) restore() error {
	var err error
	if c.off, err = readSwitch(c.config.StateDir); err != nil {
		return err
	}
	now := time.Now()
	records, damaged, err := readJournal(c.config.StateDir)
	if err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		if len(r.Verdict) == 0 {
			if id, err := mitigate.ParseID(r.ID); err == nil {
				c.restoreLifted(id, r, now)
			}
			continue
		}
		v, err := jsonl.ParseVerdict(r.Verdict)
		if err != nil {
			damaged++
			continue
		}
		entry, _, err := c.rails.check(v, now)
		if err != nil {
			continue // expired, or the rails have become stricter
		}
		it := item{verdict: *v, who: r.Who, since: time.Unix(0, r.Since), entry: entry}
		if r.Rail != "" {
			c.waiting[entry.ID] = &waitingItem{it, &RailError{Rail: r.Rail, Reason: r.Reason, Waits: true}}
			continue
		}
		c.insert(&it)
	}
	detail := fmt.Sprintf("%d active verdicts", len(c.desired.byID))
	if damaged > 0 {
		detail += fmt.Sprintf(", %d damaged lines", damaged)
	}
	c.record(AuditEntry{Who: whoController, What: "restored", Detail: detail})
	c.journal, err = openJournal(c.config.StateDir, c.journalRecords())
	return err
}

// restoreLifted has targets told once more of a verdict that was lifted: where one could
// not be reached then, it may still be in force.
func (c *Controller) restoreLifted(id mitigate.ID, r *journalRecord, now time.Time) {
	v, err := jsonl.ParseVerdict(r.Lifted)
	if err != nil {
		v = &detect.Verdict{}
	}
	c.lifted.add(id, v.Subject, r.Expires, now.UnixNano())
	if v.Subject != (detect.Subject{}) {
		c.touch(v.Subject)
	}
}

// Run reconciles until the context ends; then it writes what is to be
// remembered and returns. What is in force at targets stays so.
func (c *Controller) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, w := range c.workers {
		wg.Go(func() { w.run(ctx) })
		wg.Go(func() { w.keepMode(ctx) })
		wg.Go(func() { w.keepHouse(ctx) })
		if r, ok := w.target.(mitigate.Runner); ok {
			wg.Go(func() { w.serve(ctx, r) })
		}
	}
	wg.Go(func() { c.clerk(ctx) })
	wg.Wait()
	return c.close()
}

// Apply takes a verdict of detection: a new one, a later form of one, or a
// lift. It never waits for a target or the disk. The error, for those who care,
// is a [*RailError], [ErrStale], or [ErrUnknownVerdict] for a lift; it is
// counted and in the audit log.
func (c *Controller) Apply(v detect.Verdict) error {
	return c.apply(v, "")
}

// Decide takes an operator's own verdict. Without an ID it gets one. It returns
// the verdict as it was accepted: its lifetime may have been cut. With an error it is
// the verdict as it was asked for, which may wait for approval under its ID.
func (c *Controller) Decide(v detect.Verdict, who string) (detect.Verdict, error) {
	if v.ID == "" {
		v.ID = newID()
	}
	if err := c.apply(v, cmp.Or(who, "operator")); err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := mitigate.ParseID(v.ID)
	if it := c.desired.byID[id]; err == nil && it != nil {
		return it.verdict, nil
	}
	return detect.Verdict{}, ErrUnknownVerdict
}

// newID is a random id, for a verdict that no rule made.
func newID() string {
	var b [8]byte
	rand.Read(b[:])
	upper, lower := binary.BigEndian.Uint32(b[:4]), binary.BigEndian.Uint32(b[4:])
	return mitigate.ID(uint64(max(upper, 1))<<32 | uint64(max(lower, 1))).String()
}

func (c *Controller) apply(v detect.Verdict, who string) error {
	if v.Action == detect.ActionLift {
		return c.lift(v.ID, cmp.Or(who, whoDetection), v.Message)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	entry, shortened, err := c.rails.check(&v, now)
	if err != nil {
		return c.refuse(&v, who, err)
	}
	old := c.desired.byID[entry.ID]
	if c.lifted.has(entry.ID, now.UnixNano()) || old != nil && v.Time < old.verdict.Time {
		c.stats.Stale++
		return ErrStale
	}
	it := &item{verdict: v, who: who, since: now, entry: entry}
	if old != nil {
		it.since, it.who = old.since, cmp.Or(who, old.who)
	}
	if rail := c.needsApproval(it, old, now); rail != nil {
		return c.wait(it, rail)
	}
	c.stopWaiting(entry.ID)
	if old == nil {
		if err := c.makeRoom(it, now); err != nil {
			return c.refuse(&v, who, err)
		}
	}
	if shortened {
		c.stats.Shortened++
	}
	c.insert(it)
	c.journal.put(it)
	what := "accepted"
	if old != nil {
		c.stats.Renewed++
		what = "changed"
		if sameOrder(old.entry, entry) {
			return nil // a renewal: only its end is later, which is no news for a reader of the audit
		}
	} else {
		c.stats.Accepted++
	}
	c.record(AuditEntry{
		Who: cmp.Or(who, whoDetection), What: what, Verdict: v.ID,
		Detail: describe(&v),
	})
	return nil
}

func (c *Controller) refuse(v *detect.Verdict, who string, err error) error {
	if rail, ok := err.(*RailError); ok {
		c.stats.Refused[rail.Rail]++
	}
	c.record(AuditEntry{Who: cmp.Or(who, whoDetection), What: "refused", Verdict: v.ID, Detail: err.Error()})
	return err
}

// sameOrder says whether two entries differ at most in their expiry.
func sameOrder(a, b mitigate.Entry) bool {
	a.Expires = b.Expires
	return a == b
}

// makeRoom evicts the least important verdict if there is no room for one more.
func (c *Controller) makeRoom(it *item, now time.Time) error {
	if len(c.desired.byID) < c.config.MaxVerdicts {
		return nil
	}
	least := c.desired.importance.root()
	if compareImportance(it, least) <= 0 {
		return &RailError{Rail: RailFull, Reason: fmt.Sprintf("%d more important verdicts are active", len(c.desired.byID))}
	}
	c.drop(least)
	c.stats.Evicted++
	c.record(AuditEntry{Who: whoController, What: "evicted", Verdict: least.verdict.ID, Detail: "made room for a more important verdict"})
	return nil
}

// insert puts an item into the desired state and tells the workers.
func (c *Controller) insert(it *item) {
	old := c.desired.byID[it.entry.ID]
	c.desired.put(it)
	if old != nil && old.entry.Subject != it.entry.Subject {
		c.touch(old.entry.Subject)
	}
	c.touch(it.entry.Subject)
}

// drop takes an item out of the desired state and tells the workers.
func (c *Controller) drop(it *item) {
	c.desired.remove(it)
	c.journal.drop(it)
	c.touch(it.entry.Subject)
}

func (c *Controller) touch(s detect.Subject) {
	for _, w := range c.workers {
		w.touch(s)
	}
}

// Lift ends a verdict. It does not come back under the same id.
func (c *Controller) Lift(id, who string) error {
	return c.lift(id, cmp.Or(who, "operator"), "")
}

func (c *Controller) lift(text, who, why string) error {
	id, err := mitigate.ParseID(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownVerdict, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.desired.byID[id]
	if w := c.waiting[id]; w != nil && it == nil {
		it = &w.item
	}
	if it == nil {
		return ErrUnknownVerdict
	}
	c.liftItem(it, who, why)
	return nil
}

func (c *Controller) liftItem(it *item, who, why string) {
	now := time.Now()
	until := max(it.verdict.Expires, now.Add(lateRenewal).UnixNano())
	c.lifted.add(it.entry.ID, it.entry.Subject, until, now.UnixNano())
	delete(c.waiting, it.entry.ID)
	if c.desired.byID[it.entry.ID] == it {
		c.desired.remove(it)
	}
	c.journal.lift(it, until, who)
	c.touch(it.entry.Subject)
	c.stats.Lifted++
	c.record(AuditEntry{Who: who, What: "lifted", Verdict: it.verdict.ID, Detail: why})
}

// Lifted reports whether a verdict was lifted, and may not come back.
func (c *Controller) Lifted(id string) bool {
	parsed, err := mitigate.ParseID(id)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lifted.has(parsed, time.Now().UnixNano())
}

// Off stops all enforcement on every target. It holds until On, also in a
// restarted process. The error says that this could not be written down; it is
// off all the same.
func (c *Controller) Off(who string) error { return c.turn(true, cmp.Or(who, "operator")) }

// On resumes what Off, or a person at a load balancer, stopped.
func (c *Controller) On(who string) error { return c.turn(false, cmp.Or(who, "operator")) }

func (c *Controller) turn(off bool, who string) error {
	c.turning.Lock()
	defer c.turning.Unlock()
	state := switchState{Off: off, Who: who, Since: time.Now().UTC()}
	// Off takes effect before it is written down, on the contrary only after.
	if off {
		c.setSwitch(state)
	}
	what, detail := "on", ""
	if off {
		what = "off"
	}
	var err error
	if c.config.StateDir != "" {
		if err = writeSwitch(c.config.StateDir, state); err != nil {
			detail = err.Error()
		}
	}
	if !off && err == nil {
		c.setSwitch(state)
	}
	c.record(AuditEntry{Who: who, What: what, Detail: detail})
	return err
}

func (c *Controller) setSwitch(state switchState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = state
	if !state.Off {
		c.release++
	}
	c.wakeKeepers()
}

func (c *Controller) wakeKeepers() {
	for _, w := range c.workers {
		w.wakeKeeper()
	}
}

// SetMode sets what targets do with verdicts. It is not remembered across a
// restart: the configuration says it.
func (c *Controller) SetMode(mode detect.Mode, who string) error {
	if !validMode(mode) {
		return fmt.Errorf("mitigate mode %q is none of off, monitor, enforce", mode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mode == mode {
		return nil
	}
	c.record(AuditEntry{Who: cmp.Or(who, "operator"), What: "mode", Detail: fmt.Sprintf("%s, was %s", mode, c.mode)})
	c.mode = mode
	c.wakeKeepers()
	return nil
}

// SetAllow replaces the allow-list. Active verdicts that overlap it are lifted.
func (c *Controller) SetAllow(allow []netip.Prefix, who string) error {
	for _, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds %q, which is no network", p)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	who = cmp.Or(who, "operator")
	c.rails.allow = canonicalNetworks(allow)
	c.record(AuditEntry{Who: who, What: "allow", Detail: fmt.Sprintf("%d networks", len(c.rails.allow))})
	items := slices.Clone(c.desired.expiry.items)
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.entry.ID, b.entry.ID) })
	for _, w := range c.waiting {
		items = append(items, &w.item)
	}
	for _, it := range items {
		s := it.entry.Subject
		if err := c.rails.checkSubject(&s); err != nil {
			c.liftItem(it, who, err.Error())
		}
	}
	for _, w := range c.workers {
		w.touchAllow()
	}
	return nil
}

// canonicalNetworks masks networks and brings IPv4-mapped ones to IPv4.
func canonicalNetworks(networks []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(networks))
	for _, p := range networks {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}

// items are the active verdicts as they are now, in no order. An item never changes, its
// places in the heaps aside.
func (c *Controller) items() []*item {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.desired.expiry.items)
}

// Verdicts lists the active verdicts, the oldest first, and what became of
// each. It takes seconds of a million, for which nobody else waits.
func (c *Controller) Verdicts() []Verdict {
	items := c.items()
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.verdict.Time, b.verdict.Time), cmp.Compare(a.entry.ID, b.entry.ID))
	})
	list := make([]Verdict, 0, len(items))
	for part := range slices.Chunk(items, maxDelta) {
		c.mu.Lock()
		for _, it := range part {
			if c.desired.byID[it.entry.ID] == it { // it may have ended meanwhile
				list = append(list, c.shown(it))
			}
		}
		c.mu.Unlock()
	}
	return list
}

// Verdict finds an active verdict by its id.
func (c *Controller) Verdict(id string) (Verdict, bool) {
	parsed, err := mitigate.ParseID(id)
	if err != nil {
		return Verdict{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.desired.byID[parsed]; it != nil {
		return c.shown(it), true
	}
	return Verdict{}, false
}

// shown needs the lock.
func (c *Controller) shown(it *item) Verdict {
	v := Verdict{Verdict: it.verdict, Who: it.who, Since: it.since}
	for _, w := range c.workers {
		v.Targets = append(v.Targets, w.verdictState(it, c.desired.bySubject[it.entry.Subject]))
	}
	return v
}

// Targets says how each target is, in the order of the configuration.
func (c *Controller) Targets() []Target {
	list := make([]Target, len(c.workers))
	for i, w := range c.workers {
		list[i] = w.status()
	}
	return list
}

// verdict finds an active verdict.
func (c *Controller) verdict(id mitigate.ID) (detect.Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.desired.byID[id]; it != nil {
		return it.verdict, true
	}
	return detect.Verdict{}, false
}

// Audit lists what was done, oldest first, as far back as memory goes; the file
// audit.jsonl in StateDir has it all.
func (c *Controller) Audit() []AuditEntry { return c.audit.entries() }

// AuditOf lists what was done about one verdict, the latest [maxAuditOf]
// entries, oldest first: also of earlier runs, as far back as audit logs are
// kept. It reads these, which takes a moment.
func (c *Controller) AuditOf(verdict string) ([]AuditEntry, error) { return c.audit.of(verdict) }

// Stats counts.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Refused = maps.Clone(s.Refused)
	s.Active, s.Waiting = len(c.desired.byID), len(c.waiting)
	s.Harm = float64(c.desired.harm) / harmUnit
	s.Off = c.off.Off
	s.AuditLost = c.audit.lostCount()
	return s
}

// wantedMode is the mode that a target should be in, and how often local offs
// were ended.
func (c *Controller) wantedMode(target string) (mode detect.Mode, release uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off.Off {
		return detect.ModeOff, c.release
	}
	return milder(c.mode, cmp.Or(c.config.Modes[target], detect.ModeEnforce)), c.release
}

// milder is the one of two modes that does less.
func milder(a, b detect.Mode) detect.Mode {
	for _, m := range [...]detect.Mode{detect.ModeOff, detect.ModeMonitor} {
		if a == m || b == m {
			return m
		}
	}
	return detect.ModeEnforce
}

// record adds to the audit.
func (c *Controller) record(e AuditEntry) {
	e.Time = time.Now().UTC()
	c.audit.add(e)
}

// describe says in one line what a verdict orders and why.
func describe(v *detect.Verdict) string {
	text := string(v.Action)
	if v.Action == detect.ActionRateLimit {
		text += fmt.Sprintf(" to %d per %s", v.Rate.Requests, time.Duration(v.Rate.Per))
	}
	if v.Subject.Client.IsValid() {
		text += " " + v.Subject.Client.String()
	}
	if v.Subject.Endpoint != "" {
		text += fmt.Sprintf(" at %q", v.Subject.Endpoint)
	}
	text += " until " + time.Unix(0, v.Expires).UTC().Format(time.RFC3339)
	if v.Mode == detect.ModeMonitor {
		text += " (monitor)"
	}
	if v.Message != "" {
		text += ": " + v.Message
	}
	return text
}
