package scenario

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/sensor"
)

const pollInterval = 250 * time.Millisecond

// sighting is what was seen of one of the engine's verdicts.
type sighting struct {
	client   netip.Prefix
	inForce  time.Time // the load balancer had confirmed it; zero: never
	renewals int
	expires  time.Time
	gone     bool // it was in force, vanished while the attack went on, and left its client none
}

// observer follows offpath through its API and says what is new.
type observer struct {
	stage *stage

	mu           sync.Mutex
	attack       time.Time // begin
	over         bool
	verdicts     map[string]*sighting // by id, operators' verdicts aside
	findings     int
	alarm        string // the first that says that a verdict is not enforced
	firstRefusal bool
	trouble      error // the last poll that failed
	troubles     int
}

func newObserver(s *stage) *observer { return &observer{stage: s, verdicts: map[string]*sighting{}} }

func (o *observer) attackBegins() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attack = time.Now()
}

func (o *observer) attackEnds() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}

func (o *observer) run(ctx context.Context) {
	counters := time.NewTicker(o.stage.pace.report)
	defer counters.Stop()
	polls := time.NewTicker(pollInterval)
	defer polls.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-counters.C:
			o.count()
		case <-polls.C:
			if err := o.poll(ctx); err != nil && ctx.Err() == nil {
				o.mu.Lock()
				o.trouble, o.troubles = err, o.troubles+1
				o.mu.Unlock()
			}
		}
	}
}

// poll asks offpath what is new.
func (o *observer) poll(ctx context.Context) error {
	findings, newest, alarm, err := o.stage.sensor.Findings(ctx)
	if err != nil {
		return err
	}
	active, err := o.stage.sensor.Verdicts(ctx)
	if err != nil {
		return err
	}
	audit, err := o.stage.sensor.Audit(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.findings == 0 && findings > 0 {
		o.stage.time.Say("first finding: %s", newest)
	}
	o.findings = max(o.findings, findings)
	if alarm != "" && o.alarm == "" {
		o.alarm = alarm
		o.stage.time.Say("alarm: %s", alarm)
	}
	o.see(active)
	o.confirm(audit)
	if _, refusal := o.stage.balancer.Journal.First(); !refusal.IsZero() && !o.firstRefusal {
		o.firstRefusal = true
		o.stage.time.Say("first 403, %.1f s into the attack", refusal.Sub(o.attack).Seconds())
	}
	return nil
}

// see enters the active verdicts.
func (o *observer) see(active []sensor.Verdict) {
	present, clients := map[string]bool{}, map[netip.Prefix]bool{}
	for _, v := range active {
		if v.Operator {
			continue
		}
		present[v.ID] = true
		known, ok := o.verdicts[v.ID]
		if ok && v.Client.IsValid() && !known.inForce.IsZero() {
			clients[v.Client] = true // of an address and a program it may end when the address has one of its own
		}
		if !ok {
			if len(o.verdicts) == 0 {
				o.stage.time.Say("first verdict: %s", v.Message)
			}
			known = &sighting{client: v.Client, expires: v.Expires}
			o.verdicts[v.ID] = known
		}
		if v.Expires.After(known.expires) {
			known.expires = v.Expires
			known.renewals++
		}
	}
	for id, known := range o.verdicts {
		if !present[id] && !known.inForce.IsZero() && !clients[known.client] && !known.gone && !o.over {
			known.gone = true
			o.stage.time.Say("verdict %s on %v is gone while the attack goes on", id, known.client)
		}
	}
}

// confirm notes when the load balancer confirmed each verdict.
func (o *observer) confirm(audit []sensor.Act) {
	for _, act := range audit {
		known, ok := o.verdicts[act.Verdict]
		if ok && act.Confirms() && (known.inForce.IsZero() || act.Time.Before(known.inForce)) {
			known.inForce = act.Time
		}
	}
}

// count prints a line of counters.
func (o *observer) count() {
	o.mu.Lock()
	defer o.mu.Unlock()
	people := o.stage.crowd.Counts()
	if o.attack.IsZero() {
		o.stage.time.Say("customers: %d requests, %d logins (%d mistyped)", people.Requests, people.Logins, people.Mistyped)
		return
	}
	made, refused := 0, 0 // of the attack
	for _, e := range o.stage.balancer.Journal.Attack() {
		made++
		if e.Refused() {
			refused++
		}
	}
	if made == 0 {
		return
	}
	o.stage.time.Say("attack: %d requests, %d refused, %d accounts opened · verdicts: %d · customers: %d requests, %d refused",
		made, refused, o.stage.books.Counts().Opened, len(o.verdicts), people.Requests, people.Refused)
}

// verdictOn returns when the first verdict on an address was in force; zero:
// never.
func (o *observer) verdictOn(a netip.Addr) (t time.Time) {
	for _, v := range o.verdicts {
		if v.client.Contains(a) && !v.inForce.IsZero() && (t.IsZero() || v.inForce.Before(t)) {
			t = v.inForce
		}
	}
	return t
}

// onCustomers lists the verdicts on addresses that are not the attackers'.
func (o *observer) onCustomers() (list []string) {
	for id, v := range o.verdicts {
		if v.client.IsValid() && !internet.Attacker(v.client.Addr()) {
			list = append(list, id+" on "+v.client.String())
		}
	}
	return list
}
