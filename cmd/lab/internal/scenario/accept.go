package scenario

import (
	"cmp"
	"strings"
	"time"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/report"
)

// The acceptance's bounds.
const (
	// maxDelay is the most between the first attack request and the first
	// refusal.
	maxDelay = 10 * time.Second
	// minShare is the least share of an address's requests that are refused
	// since it was stopped, percent.
	minShare = 99
	// stragglers are logins that the bank knows of and offpath does not, or
	// the other way round: hydra is killed in the middle of what it does.
	stragglers = 8
)

// figures are what table and acceptance show, of everything measured.
type figures struct {
	*result
	summary
	delay          time.Duration // first attack request to first refusal; 0: none
	seen, dropped  float64       // frames, by offpath
	logins, legs   float64       // by offpath
	answered       int64         // logins by app, web and OFX, by the bank
	known          bool          // offpath has all the metrics asked for
	verdicts       map[string]*sighting
	renewals, gone int
	own, programs  int // verdicts that were in force, by what they are about
	onCustomers    []string
	findings       int
	alarm          string // the first that says that a verdict is not enforced
	troubles       int
	trouble        error
}

func (r *result) figures() *figures {
	f := &figures{result: r, summary: summarise(r.fates())}
	if !r.refusal.IsZero() {
		f.delay = r.refusal.Sub(r.first)
	}
	var haveSeen, haveDropped, haveLogins bool
	f.seen, haveSeen = r.metrics.Sum(metricFrames)
	f.dropped, haveDropped = r.metrics.Sum(metricDrops)
	f.logins, haveLogins = r.metrics.Sum(metricLogins)
	f.legs, _ = r.metrics.Sum(metricLegs)
	f.known = haveSeen && haveDropped && haveLogins
	f.answered = r.bank.Logins(bank.Mobile, bank.Web, bank.OFX)

	o := r.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	f.verdicts, f.findings, f.alarm, f.troubles, f.trouble = o.verdicts, o.findings, o.alarm, o.troubles, o.trouble
	for _, v := range o.verdicts {
		f.renewals += v.renewals
		switch {
		case v.inForce.IsZero():
		case v.client.IsValid():
			f.own++
		default:
			f.programs++
		}
		if v.gone {
			f.gone++
		}
	}
	f.onCustomers = append(o.onCustomers(), r.harmed...)
	return f
}

// table is what came of it.
func (f *figures) table(enforced bool) *report.Table {
	t := &report.Table{}
	t.Row("attack requests made", "%d from %d addresses", len(f.attack), f.addresses)
	t.Row("refused", "%d (%.1f %%)", f.refused, percent(f.refused, len(f.attack)))
	t.Row("addresses stopped", "%d of %d, by %d verdicts about one and %d about a program", f.stopped, f.addresses, f.own, f.programs)
	t.Row("refused per address since", "min %.1f %%, median %.1f %%", f.lowest, f.median)
	if f.refusal.IsZero() {
		t.Row("first attack request to first 403", "never")
	} else {
		t.Row("first attack request to first 403", "%.2f s", f.delay.Seconds())
	}
	t.Row("attack requests the bank was spared", "%d", f.refused)
	t.Row("accounts opened by the stuffing client", "%d", f.stuffing.Opened)
	t.Rule()
	t.Row("customers' requests made", "%d in %d sessions, %d logins (%d mistyped)", f.people.Requests, f.people.Sessions, f.people.Logins, f.people.Mistyped)
	t.Row("customers' requests refused", "%d seen by customers, %d by the load balancer", f.people.Refused, f.journal.Refused)
	t.Row("customers' requests broken", "%d", f.people.Broken)
	t.Rule()
	t.Row("packets mirrored", "%d, %d lost by the switch", f.mirrored, f.mirrorLost)
	t.Row("packets seen by offpath", "%.0f, %.0f dropped", f.seen, f.dropped)
	t.Row("logins answered by the bank", "%d, of which %d by OFX", f.answered, f.bank.Logins(bank.OFX))
	t.Row("logins counted by offpath", "%.0f (requests seen on a second leg: %.0f)", f.logins, f.legs)
	t.Row("findings, verdicts", "%d, %d (renewed %d times)", f.findings, len(f.verdicts), f.renewals)
	if enforced {
		t.Rule()
		t.Row("refused by hand", "403 after %v, %d logins refused", f.probe.refusedAfter.Round(time.Millisecond), f.probe.refused)
		t.Row("lifted", "let in after %v; then %d logins, %d refused", f.probe.acceptedAfter.Round(time.Millisecond), f.probe.later, f.probe.laterRefused)
	}
	return t
}

// accept holds it against what has to be.
func (f *figures) accept(enforced bool) (checks report.Checks) {
	if enforced {
		f.acceptEnforced(&checks)
	} else if f.observer.stage.options.Silent {
		checks.Add("an alarm says that verdicts are not enforced", f.refused == 0 && f.alarm != "", "%d refused under %d verdicts; %s", f.refused, len(f.verdicts), cmp.Or(f.alarm, "none"))
	} else {
		checks.Add("monitor refuses nothing", f.refused == 0 && len(f.verdicts) > 0, "%d refused under %d verdicts", f.refused, len(f.verdicts))
	}
	checks.Add("no verdict on a customer", len(f.onCustomers) == 0, "%d %s", len(f.onCustomers), strings.Join(f.onCustomers, ", "))
	checks.Add("no customer refused", f.people.Refused == 0 && f.journal.Refused == 0 && f.people.Requests > 0, "%d of %d requests", f.people.Refused, f.people.Requests)
	checks.Add("no customer's request broken", f.people.Broken == 0 && f.people.Away == 0, "%d%s", f.people.Broken, because(f.peopleError))
	checks.Add("no packet dropped", f.known && f.dropped == 0 && f.mirrorLost == 0 && uint64(f.seen) >= f.mirrored,
		"%.0f dropped, %d lost by the switch, %.0f of %d seen", f.dropped, f.mirrorLost, f.seen, f.mirrored)
	difference := int64(f.logins) - f.answered
	checks.Add("each login counted once", f.known && max(difference, -difference) <= stragglers, "%.0f by offpath, %d by the bank", f.logins, f.answered)
	checks.Add("the books are whole", f.logsLost == 0 && f.malformed == 0 && f.troubles == 0,
		"%d log lines lost, %d malformed, %d API calls failed%s", f.logsLost, f.malformed, f.troubles, because(f.trouble))
	if r := f.replayed; r != nil {
		checks.Add("the recording gives the same verdicts", r.Difference == "" && r.Live > 0,
			"%d lines live, %d from the recording, in order and content; %s", r.Live, r.Replayed, cmp.Or(r.Difference, "all the same"))
	}
	return checks
}

func (f *figures) acceptEnforced(checks *report.Checks) {
	checks.Add("first refusal within 10 s", !f.refusal.IsZero() && f.delay >= 0 && f.delay <= maxDelay, "%.2f s", f.delay.Seconds())
	// One that hits several right passwords in its first tries, and the last
	// to start on a busy machine, may take longer than a short run.
	checks.Add("four of five attacking addresses are stopped", f.stopped*5 >= f.addresses*4 && f.addresses == bots+1, "%d of %d", f.stopped, f.addresses)
	checks.Add("at least 99 % refused per address since", f.judged > f.idle && f.lowest >= minShare,
		"lowest %.1f %%, with %v for requests under way; %d addresses fell silent", f.lowest, grace, f.idle)
	checks.Add("no flapping", f.flaps == 0 && f.gone == 0, "%d requests answered after a refusal, %d verdicts gone during the attack", f.flaps, f.gone)
	checks.Add("refused by hand, lifted, not refused again", f.probe.later > 0 && f.probe.laterRefused == 0 && f.probe.laterBroken == 0,
		"%d logins since, %d refused, %d broken", f.probe.later, f.probe.laterRefused, f.probe.laterBroken)
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
