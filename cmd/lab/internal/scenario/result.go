package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"offpath/cmd/lab/internal/attack"
	"offpath/cmd/lab/internal/balancer"
	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/crowd"
	"offpath/cmd/lab/internal/report"
	"offpath/cmd/lab/internal/sensor"
)

const (
	// grace is what a request gets that was under way when the load balancer
	// confirmed the verdict.
	grace = 100 * time.Millisecond
	// drain is how long offpath gets to work off what it has captured.
	drain = 5 * time.Second
	// maxDelay is the most between the first attack request and the first
	// refusal.
	maxDelay = 10 * time.Second
	// minShare is the least share of an address's requests that are refused
	// after its own verdict, percent.
	minShare = 99
	// straggling logins may be known to the bank and not to offpath, or the
	// other way round: hydra is killed in the middle of what it does, one
	// login a task.
	stragglers = 8
)

// result is everything that was measured.
type result struct {
	observer *observer
	probe    *probe

	people      crowd.Counts
	peopleError error
	stuffing    attack.Counts
	bank        bank.Counts
	attack      []balancer.Entry
	journal     balancer.Counts // customers, the probe aside
	first       time.Time       // first request of the attack
	refusal     time.Time       // first refusal of the attack
	logsLost    int
	malformed   int

	mirrored   uint64 // frames that the switch sent to the tap since offpath was ready
	mirrorLost uint64
	metrics    sensor.Metrics
	replayed   map[string]bool // verdicts that the recording gives; nil without one
}

// settle waits until everything is counted and collects it.
func (s *stage) settle(ctx context.Context, o *observer, p *probe) (*result, error) {
	r := &result{observer: o, probe: p, people: s.crowd.Counts(), peopleError: s.crowd.FirstBroken(), stuffing: s.books.Counts()}
	var err error
	if r.bank, err = bank.ReadBooks(ctx, s.bankBooks()); err != nil {
		return nil, err
	}
	if r.logsLost, err = s.balancer.DroppedLogs(ctx); err != nil {
		return nil, err
	}
	journal := s.balancer.Journal
	r.attack, r.journal, r.malformed = journal.Attack(), journal.Customers(p.address()), journal.Malformed()
	r.first, r.refusal = journal.First()
	if err := s.drained(ctx, r); err != nil {
		return nil, err
	}
	if err := o.poll(ctx); err != nil {
		return nil, fmt.Errorf("last look at offpath: %w", err)
	}
	if err := s.sensor.Stop(); err != nil {
		return nil, err
	}
	if s.options.Record != "" {
		s.time.Say("replaying the recording")
		if r.replayed, err = s.config.Replay(ctx, s.options.Record); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// The product's metrics that the acceptance is about.
const (
	metricFrames = "offpath_capture_frames_total"
	metricDrops  = "offpath_capture_dropped_total"
	metricLogins = "offpath_detect_logins_total"
	metricLegs   = "offpath_detect_second_legs_total"
)

// drained waits until offpath has seen every mirrored frame, or for long
// enough.
func (s *stage) drained(ctx context.Context, r *result) error {
	for deadline := time.Now().Add(drain); ; {
		sent, lost, err := s.net.Mirrored()
		if err != nil {
			return err
		}
		if r.metrics, err = s.sensor.Metrics(ctx); err != nil {
			return err
		}
		r.mirrored, r.mirrorLost = sent-s.mirrorZero, lost
		if seen, _ := r.metrics.Sum(metricFrames); uint64(seen) >= r.mirrored && time.Until(deadline) < drain-time.Second || time.Now().After(deadline) {
			return nil
		}
		if !pause(ctx, pollInterval) {
			return ctx.Err()
		}
	}
}

// fate is what became of one attacking address.
type fate struct {
	requests, refused int
	before            int       // requests that came before its verdict
	after, leaked     int       // requests after it, and those of them that were answered
	flaps             int       // refused, then answered again
	verdict           time.Time // in force; zero: never
}

// share of the requests after its verdict that were refused, percent.
func (f fate) share() float64 { return 100 * float64(f.after-f.leaked) / float64(f.after) }

// fates sorts the attack by address.
func (r *result) fates() map[netip.Addr]*fate {
	r.observer.mu.Lock()
	defer r.observer.mu.Unlock()
	slices.SortStableFunc(r.attack, func(a, b balancer.Entry) int { return a.Time.Compare(b.Time) })
	fates := map[netip.Addr]*fate{}
	for _, e := range r.attack {
		f := fates[e.Client]
		if f == nil {
			f = &fate{verdict: r.observer.verdictOn(e.Client)}
			fates[e.Client] = f
		}
		f.requests++
		switch after := !f.verdict.IsZero() && e.Time.After(f.verdict.Add(grace)); {
		case e.Refused():
			f.refused++
			if after {
				f.after++
			}
		case after:
			f.after++
			f.leaked++
			if f.refused > 0 {
				f.flaps++
			}
		default:
			f.before++
		}
	}
	return fates
}

// tabulate makes the table and the acceptance.
func (r *result) tabulate(s *stage) (*report.Table, report.Checks) {
	t, checks := &report.Table{}, report.Checks{}
	fates := r.fates()
	var shares []float64
	refused, flaps, convicted, idle := 0, 0, 0, 0
	for _, f := range fates {
		refused += f.refused
		flaps += f.flaps
		if f.verdict.IsZero() {
			continue
		}
		convicted++
		if f.after == 0 {
			idle++
			continue
		}
		shares = append(shares, f.share())
	}
	slices.Sort(shares)
	lowest, median := 0.0, 0.0
	if len(shares) > 0 {
		lowest, median = shares[0], shares[len(shares)/2]
	}
	r.observer.mu.Lock()
	defer r.observer.mu.Unlock()
	renewals, gone := 0, 0
	for _, v := range r.observer.verdicts {
		renewals += v.renewals
		if v.gone {
			gone++
		}
	}

	t.Row("attack requests made", "%d from %d addresses", len(r.attack), len(fates))
	t.Row("refused", "%d (%.1f %%)", refused, percent(refused, len(r.attack)))
	t.Row("addresses with a verdict of their own", "%d of %d", convicted, len(fates))
	t.Row("refused per address after its verdict", "min %.1f %%, median %.1f %%", lowest, median)
	delay := r.refusal.Sub(r.first)
	if r.refusal.IsZero() {
		t.Row("first attack request to first 403", "never")
	} else {
		t.Row("first attack request to first 403", "%.2f s", delay.Seconds())
	}
	t.Row("attack requests the bank was spared", "%d", refused)
	t.Row("accounts opened by the stuffing client", "%d", r.stuffing.Opened)
	t.Rule()
	t.Row("customers' requests made", "%d in %d sessions, %d logins (%d mistyped)", r.people.Requests, r.people.Sessions, r.people.Logins, r.people.Mistyped)
	t.Row("customers' requests refused", "%d seen by customers, %d by the load balancer", r.people.Refused, r.journal.Refused)
	t.Row("customers' requests broken", "%d", r.people.Broken)
	t.Rule()
	seen, haveSeen := r.metrics.Sum(metricFrames)
	dropped, haveDropped := r.metrics.Sum(metricDrops)
	t.Row("packets mirrored", "%d, %d lost by the switch", r.mirrored, r.mirrorLost)
	t.Row("packets seen by offpath", "%.0f, %.0f dropped", seen, dropped)
	logins, haveLogins := r.metrics.Sum(metricLogins)
	legs, _ := r.metrics.Sum(metricLegs)
	// A sign-on inside an OFX body is not among what offpath takes for a login.
	answered := r.bank.Logins(bank.Mobile, bank.Web)
	t.Row("logins answered by the bank", "%d by app and web, %d by OFX", answered, r.bank.Logins(bank.OFX))
	t.Row("app and web logins counted by offpath", "%.0f (requests seen on a second leg: %.0f)", logins, legs)
	t.Row("findings, verdicts", "%d, %d (renewed %d times)", r.observer.findings, len(r.observer.verdicts), renewals)
	if s.options.Mode == "enforce" {
		t.Rule()
		t.Row("refused by hand", "403 after %v, %d logins refused", r.probe.refusedAfter.Round(time.Millisecond), r.probe.refused)
		t.Row("lifted", "let in after %v; then %d logins, %d refused", r.probe.acceptedAfter.Round(time.Millisecond), r.probe.later, r.probe.laterRefused)
	}

	if s.options.Mode == "enforce" {
		checks.Add("first refusal within 10 s", !r.refusal.IsZero() && delay >= 0 && delay <= maxDelay, "%.2f s", delay.Seconds())
		// One that hits several right passwords in its first tries, and the
		// last to start on a busy machine, may take longer than a short run.
		checks.Add("four of five attacking addresses get a verdict", convicted*5 >= len(fates)*4 && len(fates) == bots+1, "%d of %d", convicted, len(fates))
		checks.Add("at least 99 % refused per address after its own verdict", len(shares) > 0 && lowest >= minShare && len(shares) > idle,
			"lowest %.1f %%, with %v for requests under way; %d addresses fell silent", lowest, grace, idle)
		checks.Add("no flapping", flaps == 0 && gone == 0, "%d requests answered after a refusal, %d verdicts gone during the attack", flaps, gone)
		checks.Add("refused by hand, lifted, not refused again", r.probe.later > 0 && r.probe.laterRefused == 0 && r.probe.laterBroken == 0,
			"%d logins since, %d refused, %d broken", r.probe.later, r.probe.laterRefused, r.probe.laterBroken)
	} else {
		checks.Add("monitor refuses nothing", refused == 0 && len(r.observer.verdicts) > 0, "%d refused under %d verdicts", refused, len(r.observer.verdicts))
	}
	wrong := r.observer.onCustomers()
	checks.Add("no verdict on a customer", len(wrong) == 0, "%d %s", len(wrong), strings.Join(wrong, ", "))
	checks.Add("no customer refused", r.people.Refused == 0 && r.journal.Refused == 0 && r.people.Requests > 0, "%d of %d requests", r.people.Refused, r.people.Requests)
	checks.Add("no customer's request broken", r.people.Broken == 0 && r.people.Away == 0, "%d%s", r.people.Broken, because(r.peopleError))
	checks.Add("no packet dropped", haveSeen && haveDropped && dropped == 0 && r.mirrorLost == 0 && uint64(seen) >= r.mirrored,
		"%.0f dropped, %d lost by the switch, %.0f of %d seen", dropped, r.mirrorLost, seen, r.mirrored)
	difference := int64(logins) - answered
	checks.Add("each login counted once", haveLogins && difference <= stragglers && difference >= -stragglers, "%.0f by offpath, %d by the bank", logins, answered)
	checks.Add("the books are whole", r.logsLost == 0 && r.malformed == 0 && r.observer.troubles == 0,
		"%d log lines lost, %d malformed, %d API calls failed%s", r.logsLost, r.malformed, r.observer.troubles, because(r.observer.trouble))
	if r.replayed != nil {
		live := map[string]bool{}
		for id := range r.observer.verdicts {
			live[id] = true
		}
		missing, extra := without(live, r.replayed), without(r.replayed, live)
		checks.Add("the recording gives the same verdicts", len(missing) == 0 && len(extra) == 0 && len(live) > 0,
			"%d live, %d from the recording; missing %v, extra %v", len(live), len(r.replayed), missing, extra)
	}
	return t, checks
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

// without lists what is in a and not in b.
func without(a, b map[string]bool) (list []string) {
	for id := range a {
		if !b[id] {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}
