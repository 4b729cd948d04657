// Package campaign finds attacks that use each address once. It looks for
// excess first and for its members second: a cell is what attempts have in
// common that a load balancer can match (fingerprint, User-Agent, JA4, their
// combinations, a network, an endpoint); one in which passwords are wrong far
// oftener than where nobody attacks is a campaign's, and its predicate is acted
// against if it hits hardly any customer.
//
// What honest failure is comes from the least-attacked cells (Herley &
// Schechter, NDSS 2019), so that it holds where nine logins in ten are an
// attacker's and where a capture begins in the middle of an attack. How many
// customers a predicate would hit is estimated by what only customers do: log
// in to an account from a network from which it was logged in to on an earlier
// day, or ask for something else first. An attack that is a customer's perfect
// likeness has no cell of its own; there, charts of wrong logins from where and
// with what the account was never logged in to say that it is under way, and
// which of the right logins may be its hits. A password tried at account after
// account is a campaign of itself.
//
// It would rather be late than wrong: the same password for the same account
// counts once a day; several accounts and addresses must be concerned; an
// outage, a release of an app that fails, a company behind one address all
// show customers' marks, and are left alone by the price.
//
// A Detector belongs to one goroutine. Its memory is bounded; what it forgets
// for want of room it counts. It decides by the times of the attempts alone.
package campaign

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"offpath/detect"
	"offpath/detect/internal/distinct"
)

const (
	// quiet is how long a campaign is open after its last attempt, ns.
	quiet = 30 * 60 * 1e9
	// maxOpen bounds the campaigns that are open at once.
	maxOpen = 64
	// maxCells bounds the predicates of a campaign.
	maxCells = 256
	// maxEndpoints bounds the endpoints that are named.
	maxEndpoints = 64
	// maxEvents bounds the transactions named as evidence.
	maxEvents = 20
)

// Campaign is an attack that lives: opened by a predicate, a chart or a sprayed
// password, closed when it has been quiet.
type Campaign struct {
	Subject     detect.Subject // of its first predicate; of a chart its endpoint
	Opened      int64          // ns since the epoch
	First, Last int64          // attempts that were attributed
	Told        int64          // when it was last written down, which is its reader's to say
	Attempts    int
	Hits        int  // attempts that were right
	Spray       bool // one password at many accounts
	Why         Why
	Events      []string

	strikes             map[detect.Subject]int
	accounts, addresses distinct.Counter
	hits                distinct.Counter
	endpoints           map[string]bool // attacked; at most maxEndpoints
	cells               []*cell
	serial              int
	touched             *touched
	charts              []*Endpoint // that show it
}

// Accounts is how many accounts were tried, about.
func (c *Campaign) Accounts() int { return c.accounts.Count() }

// AccountsHit is of how many accounts the password was right, about.
func (c *Campaign) AccountsHit() int { return c.hits.Count() }

// Addresses is how many addresses the attempts came from, about.
func (c *Campaign) Addresses() int { return c.addresses.Count() }

// Uncounted is how many of the attempts are from before the campaign was
// noticed: their accounts and addresses are not known.
func (c *Campaign) Uncounted() int {
	switch {
	case c.Spray:
		return minSprayed - 1
	case c.Unmarked():
		return 0
	}
	return int(c.Why.Attempts) - 1
}

// Unmarked reports whether nothing tells the campaign's attempts from
// customers'.
func (c *Campaign) Unmarked() bool { return c.Subject == detect.Subject{Endpoint: c.Subject.Endpoint} }

func (c *Campaign) attacks(endpoint string) {
	if !c.endpoints[endpoint] && len(c.endpoints) < maxEndpoints {
		c.endpoints[endpoint] = true
	}
}

// Strike says that a predicate is acted against, and how often it was before in
// this campaign.
func (c *Campaign) Strike(s detect.Subject) (before int) {
	before = c.strikes[s]
	if len(c.strikes) < maxCells || before > 0 {
		c.strikes[s]++
	}
	return before
}

// count attributes an attempt.
func (c *Campaign) count(a *Attempt) {
	c.Last = a.Time
	c.tally(a)
}

// tally adds an attempt that does not keep the campaign open: a customer may be
// taken for its part.
func (c *Campaign) tally(a *Attempt) {
	c.Attempts++
	c.accounts.Add(a.Account)
	c.touched.add(c, a.Account, a.UserHash, a.Time, false)
	c.addresses.AddAddress(a.Client)
	if len(c.Events) < maxEvents {
		c.Events = append(c.Events, strings.Clone(a.Event))
	}
}

// hit records that a right login is a campaign's.
func (d *Detector) hit(c *Campaign, account uint64, user string, time int64, odds float64) Hit {
	c.Hits++
	c.hits.Add(account)
	c.touched.add(c, account, user, time, true)
	h := Hit{UserHash: user, Account: account, Campaign: c, Odds: odds}
	h.Price = 1e6 * (1 - h.Certainty()) / max(d.site.right, 1)
	return h
}

// convict adds a cell to the campaign that it is part of, or opens one. It
// returns nil if there is no room.
func (d *Detector) convict(found *cell, a *Attempt, p0 float64) *Campaign {
	c := d.related(found, a)
	if c == nil {
		if c = d.begin(found.values, a.Time); c == nil {
			return nil
		}
		c.First, c.Attempts, c.Why = found.since, int(found.attempts)-1, d.why(found, p0)
	} else if len(c.cells) == maxCells {
		oldest := slices.MinFunc(c.cells, func(a, b *cell) int { return cmp.Compare(a.acted, b.acted) })
		d.acquit(oldest)
		d.stats.NoRoom++
	}
	found.campaign = c
	c.cells = append(c.cells, found)
	c.count(a)
	return c
}

// begin opens a campaign; nil if there is no room.
func (d *Detector) begin(s detect.Subject, time int64) *Campaign {
	if len(d.open) == maxOpen {
		d.stats.NoRoom++
		return nil
	}
	d.serial++
	c := &Campaign{
		serial: d.serial, touched: &d.touched,
		Subject: s, Opened: time, First: time, Last: time,
		endpoints: make(map[string]bool), strikes: make(map[detect.Subject]int),
	}
	d.open = append(d.open, c)
	d.stats.Campaigns++
	return c
}

// rise says which charts are up: they belong to the campaign that is under way
// there, or open one, whose hits are looked for since the charts began to rise.
func (d *Detector) rise(risen []*Endpoint, time int64, r *Result) {
	c := d.under(risen)
	if c == nil {
		var subject detect.Subject
		if len(risen) == 1 || len(risen) == 2 && risen[1] == &d.all {
			subject.Endpoint = risen[0].name // of all endpoints: none
		}
		if c = d.begin(subject, time); c == nil {
			return
		}
		c.First, c.Why = risen[0].chart.since(), risen[0].chart.why()
	}
	for _, at := range risen {
		at.chart.cut = d.cut(at)
		if at.campaign != c {
			at.campaign = c
			c.charts = append(c.charts, at)
			d.lookBack(at, time, r)
		}
		if at != &d.all {
			c.attacks(at.name)
		}
		for _, account := range slices.Sorted(maps.Keys(at.chart.failing)) {
			f := at.chart.failing[account]
			c.accounts.Add(account)
			c.addresses.Add(f.address)
			c.touched.add(c, account, f.user, f.at, false)
		}
		if at != &d.all || len(risen) == 1 {
			c.Attempts += int(at.chart.beyond) // what endpoints' own charts show is in that of all too
		}
	}
	c.Last = time
	r.Campaign, r.Rising = c, c
}

// under finds the open campaign that charts belong to: of a chart, or one that
// is acted against at an endpoint.
func (d *Detector) under(risen []*Endpoint) *Campaign {
	var found *Campaign
	for _, c := range d.open {
		if len(c.charts) > 0 {
			return c
		}
		if slices.ContainsFunc(risen, func(at *Endpoint) bool { return at == &d.all || c.endpoints[at.name] }) {
			found = c
		}
	}
	return found
}

// lookBack looks for hits among the right logins since a chart began to rise.
func (d *Detector) lookBack(at *Endpoint, time int64, r *Result) {
	for l := range d.recent.since(at.chart.since()) {
		if at != &d.all && l.at != at {
			continue
		}
		if odds := d.odds(at, l); odds > at.chart.cut && d.afford(l.account, odds, seconds(time)) {
			r.Hits = append(r.Hits, d.hit(at.campaign, l.account, l.user, l.time, odds))
		}
	}
}

// sprayed says that an attempt is one of a sprayed password.
func (d *Detector) sprayed(a *Attempt, r *Result) {
	if d.spray == nil {
		if d.spray = d.begin(detect.Subject{}, a.Time); d.spray == nil {
			return
		}
		d.spray.Attempts = minSprayed - 1
		d.spray.Spray = true
		d.spray.Why = d.sprays.why(a.Password)
		r.Rising = d.spray
	}
	d.spray.count(a)
	d.spray.attacks(a.Name)
	r.Campaign = d.spray
}

// related finds the open campaign with which a cell shares a value, or else
// the one that was last seen at its endpoint.
func (d *Detector) related(cell *cell, a *Attempt) *Campaign {
	for _, c := range d.open {
		for _, other := range c.cells {
			x, y := &cell.values, &other.values
			if x.Fingerprint != "" && x.Fingerprint == y.Fingerprint || x.JA4 != "" && x.JA4 == y.JA4 || x.UserAgent != "" && x.UserAgent == y.UserAgent {
				return c
			}
		}
	}
	var last *Campaign
	for _, c := range d.open {
		if c.endpoints[a.Name] && (last == nil || c.Last > last.Last) {
			last = c
		}
	}
	return last
}

// Refused says that a load balancer refused requests by order of a campaign's
// verdict: it goes on, unseen.
func (c *Campaign) Refused(time int64) { c.Last = max(c.Last, time) }

// Close ends the campaigns that have been quiet at an event time, in the order
// in which they became so.
func (d *Detector) Close(now int64, closed func(*Campaign)) {
	for {
		var first *Campaign
		for _, c := range d.open {
			if c.Last+quiet <= now && (first == nil || c.Last < first.Last) {
				first = c
			}
		}
		if first == nil {
			return
		}
		d.open = slices.DeleteFunc(d.open, func(c *Campaign) bool { return c == first })
		for _, cell := range first.cells {
			cell.campaign = nil
		}
		first.cells = nil
		for _, at := range first.charts {
			at.campaign = nil
		}
		first.charts = nil
		if d.spray == first {
			d.spray = nil
		}
		closed(first)
	}
}
