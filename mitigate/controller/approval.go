package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// maxWaiting is the most verdicts that wait for approval.
const maxWaiting = 1024

// Waiting is a verdict that waits for a person's approval, because it is beyond a rail.
type Waiting struct {
	Verdict detect.Verdict
	Who     string    // the operator; "" if detection decided it
	Since   time.Time // when it first arrived
	Rail    string
	Reason  string
}

// acts reports whether a verdict, where it is in force, keeps requests from where they
// go.
func (it *item) acts() bool {
	return !it.entry.Monitor && it.entry.Action != detect.ActionTag && it.entry.Action != detect.ActionHold
}

// pace is how many verdicts may still come: it fills up within a minute.
type pace struct {
	left float64
	at   time.Time
}

// take reports whether there is room for one more, of perMinute.
func (p *pace) take(now time.Time, perMinute int) bool {
	most := float64(perMinute)
	if p.at.IsZero() {
		p.left = most
	} else {
		p.left = min(most, p.left+now.Sub(p.at).Minutes()*most)
	}
	p.at = now
	if p.left < 1 {
		return false
	}
	p.left--
	return true
}

// needsApproval says which rail a verdict is beyond that a person may lift it over; nil:
// none. What is in force in another form, and was let pass then, is asked for its harm
// alone.
func (c *Controller) needsApproval(it, old *item, now time.Time) *RailError {
	if !it.acts() {
		return nil
	}
	s := &it.entry.Subject
	if s.Client.IsValid() {
		least := MinPrefixIPv6
		if s.Client.Addr().Is4() {
			least = MinPrefixIPv4
		}
		if s.Client.Bits() < least && (old == nil || old.entry.Subject.Client != s.Client) {
			return &RailError{Rail: RailPrefix, Reason: fmt.Sprintf("network %s is wider than /%d", s.Client, least), Waits: true}
		}
	}
	harm, before := harmOf(it), harmOf(old)
	most := harmUnits(c.config.MaxHarm)
	if harm > before && harm > most {
		return &RailError{Rail: RailHarm, Waits: true, Reason: fmt.Sprintf("it would hit %.0f of a million legitimate logins, more than %.0f",
			float64(harm)/harmUnit, c.config.MaxHarm)}
	}
	if sum := c.desired.harm - sharedHarm(old) + sharedHarm(it); harm > before && sharedHarm(it) > 0 && sum > most {
		return &RailError{Rail: RailHarm, Waits: true, Reason: fmt.Sprintf("with the others in force it would hit %.0f of a million legitimate logins, more than %.0f",
			float64(sum)/harmUnit, c.config.MaxHarm)}
	}
	if (old == nil || !old.acts()) && !c.pace.take(now, c.config.MaxPerMinute) {
		return &RailError{Rail: RailPace, Waits: true, Reason: fmt.Sprintf("more than %d new verdicts in a minute", c.config.MaxPerMinute)}
	}
	return nil
}

// harmUnit is what the harm of one legitimate login in a million is counted as: whole
// numbers, so that sums of what comes and goes stay exact.
const harmUnit = 1000

func harmUnits(perMillion float64) int64 { return int64(perMillion * harmUnit) }

// harmOf is what a verdict is expected to hit where it acts, of nil nothing.
func harmOf(it *item) int64 {
	if it == nil || !it.acts() {
		return 0
	}
	return harmUnits(min(max(it.verdict.Expected.LegitimateRequestsPerMillion, 0), 1e6))
}

// sharedHarm is the same of a verdict that is about more than one client. Of many about
// one each there is no sum: what is counted as legitimate there is often an attacker's
// own right login.
func sharedHarm(it *item) int64 {
	if it == nil {
		return 0
	}
	single := 64 // of IPv6, which has so many addresses for one client
	if s := &it.entry.Subject; s.Client.IsValid() {
		if s.Client.Addr().Is4() {
			single = 32
		}
		if s.Client.Bits() >= single {
			return 0
		}
	}
	return harmOf(it)
}

// waitingItem is a verdict that waits, and for what.
type waitingItem struct {
	item
	rail *RailError
}

// wait keeps a verdict for approval. The caller holds the lock.
func (c *Controller) wait(it *item, rail *RailError) error {
	known := c.waiting[it.entry.ID]
	if known == nil && len(c.waiting) >= maxWaiting {
		full := *rail
		full.Waits, full.Reason = false, fmt.Sprintf("%s; and %d wait for approval already", rail.Reason, maxWaiting)
		return c.refuse(&it.verdict, it.who, &full)
	}
	if known != nil {
		it.since, it.who = known.since, cmp.Or(it.who, known.who)
	}
	w := &waitingItem{*it, rail}
	c.waiting[it.entry.ID] = w
	c.journal.wait(w)
	if known == nil {
		c.stats.Refused[rail.Rail]++
		c.record(AuditEntry{Who: cmp.Or(it.who, whoDetection), What: "waiting", Verdict: it.verdict.ID, Detail: rail.Reason + ": " + describe(&it.verdict)})
	}
	return rail
}

// stopWaiting forgets that a verdict waits. The caller holds the lock.
func (c *Controller) stopWaiting(id mitigate.ID) {
	if w := c.waiting[id]; w != nil {
		delete(c.waiting, id)
		c.journal.drop(&w.item)
	}
}

// Waiting lists the verdicts that wait for approval, the oldest first.
func (c *Controller) Waiting() []Waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Waiting, 0, len(c.waiting))
	for _, w := range c.waiting {
		list = append(list, Waiting{Verdict: w.verdict, Who: w.who, Since: w.since, Rail: w.rail.Rail, Reason: w.rail.Reason})
	}
	slices.SortFunc(list, func(a, b Waiting) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Verdict.ID, b.Verdict.ID))
	})
	return list
}

// Approve puts a verdict in force that waits. What no approval lifts it over, such as the
// allow-list, still refuses it.
func (c *Controller) Approve(id, who string) error {
	parsed, err := mitigate.ParseID(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotWaiting, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[parsed]
	if w == nil {
		return ErrNotWaiting
	}
	now := time.Now()
	who = cmp.Or(who, "operator")
	entry, _, err := c.rails.check(&w.verdict, now)
	if err != nil {
		c.stopWaiting(parsed)
		return c.refuse(&w.verdict, who, err)
	}
	it := w.item
	it.entry = entry
	if old := c.desired.byID[parsed]; old == nil {
		if err := c.makeRoom(&it, now); err != nil {
			return c.refuse(&it.verdict, who, err)
		}
		c.stats.Accepted++
	}
	delete(c.waiting, parsed)
	c.insert(&it)
	c.journal.put(&it)
	c.record(AuditEntry{Who: who, What: "approved", Verdict: id, Detail: w.rail.Reason + ": " + describe(&it.verdict)})
	return nil
}
