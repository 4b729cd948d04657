package campaign

import (
	"cmp"
	"slices"

	"offpath/detect"
	"offpath/detect/internal/snapshot"
)

// Campaigns are those of a snapshot, for whoever else has a hold on them.
type Campaigns struct{ references[Campaign] }

// references are what others point to, by their places.
type references[T any] struct {
	list   []*T
	places map[*T]int
}

func (r *references[T]) add(list ...*T) {
	if r.places == nil {
		r.places = make(map[*T]int)
	}
	for _, p := range list {
		if _, known := r.places[p]; !known {
			r.places[p] = len(r.list)
			r.list = append(r.list, p)
		}
	}
}

// Ref codes which is meant; nil, and what is not among them, is none.
func (r *references[T]) Ref(c *snapshot.Codec, p **T) {
	place, known := r.places[*p]
	if !known {
		place = -1
	}
	if c.Index(&place, len(r.list)); c.Reading() {
		if *p = nil; place >= 0 {
			*p = r.list[place]
		}
	}
}

// refs codes a list of them.
func (r *references[T]) refs(c *snapshot.Codec, list *[]*T, limit int) {
	snapshot.List(c, list, limit, func(p **T) {
		if r.Ref(c, p); *p == nil {
			c.Fail("it points to nothing")
			*p = new(T)
		}
	})
}

// State writes what the detector knows to a snapshot, or reads it into a new
// one. endpoints are those that the caller knows the places of; held are the
// campaigns that it has a hold on beside those that are open.
func (d *Detector) State(c *snapshot.Codec, endpoints []*Endpoint, held []*Campaign) *Campaigns {
	c.Section("campaigns")
	c.Count(&d.serial, snapshot.Many)
	campaigns := d.campaignsState(c, held)
	cells := d.cells.state(c, campaigns)
	for _, o := range campaigns.list {
		cells.refs(c, &o.cells, maxCells)
	}
	campaigns.refs(c, &d.open, maxOpen)
	campaigns.Ref(c, &d.spray)
	places := d.endpointsState(c, endpoints, campaigns)
	for _, o := range campaigns.list {
		places.refs(c, &o.charts, snapshot.Many)
	}
	places.refs(c, &d.active, snapshot.Many)
	places.refs(c, &d.before, snapshot.Many)
	snapshot.Uint(c, &d.window)
	c.Count(&d.failing, maxFailing)
	d.recent.state(c, places)

	c.Section("history of logins")
	for _, h := range [...]*history{d.history, d.accounts, d.programs, d.troubled, d.networks} {
		h.state(c)
	}
	d.visitors.seen.State(c, func(c *snapshot.Codec, at *uint32) { snapshot.Uint(c, at) })
	d.tried.State(c, func(c *snapshot.Codec, at *uint32) { snapshot.Uint(c, at) })
	d.called.State(c, func(c *snapshot.Codec, at *uint32) { snapshot.Uint(c, at) })
	d.sprays.state(c)
	d.site.state(c)
	d.everywhere.state(c)
	c.Float64(&d.spent)
	snapshot.Uint(c, &d.spentAt)
	d.touched.state(c, campaigns)
	return campaigns
}

// campaignsState codes the campaigns without what belongs to them, by their
// serial numbers.
func (d *Detector) campaignsState(c *snapshot.Codec, held []*Campaign) *Campaigns {
	var list []*Campaign
	if !c.Reading() {
		list = slices.Concat(d.open, held)
		for k := range d.touched.list {
			list = append(list, k.campaign)
		}
		slices.SortFunc(list, func(a, b *Campaign) int { return cmp.Compare(a.serial, b.serial) })
		list = slices.Compact(list)
	}
	snapshot.List(c, &list, snapshot.Many, func(p **Campaign) {
		if c.Reading() {
			*p = &Campaign{touched: &d.touched}
		}
		(*p).state(c)
	})
	s := new(Campaigns)
	s.add(list...)
	return s
}

// endpointsState codes the endpoints, all of them together first; behind the
// caller's are those that are forgotten but for the window, a recent login or a campaign.
func (d *Detector) endpointsState(c *snapshot.Codec, endpoints []*Endpoint, campaigns *Campaigns) *references[Endpoint] {
	r := new(references[Endpoint])
	r.add(&d.all)
	r.add(endpoints...)
	known := len(r.list)
	r.add(d.active...)
	r.add(d.before...)
	for i := range d.recent.ring {
		r.add(d.recent.ring[i].at)
	}
	for _, o := range campaigns.list {
		r.add(o.charts...)
	}
	gone := r.list[known:]
	for _, e := range r.list[:known] {
		e.state(c, campaigns)
	}
	snapshot.List(c, &gone, snapshot.Many, func(p **Endpoint) {
		if c.Reading() {
			*p = new(Endpoint)
		}
		(*p).state(c, campaigns)
	})
	r.add(gone...)
	return r
}

func (o *Campaign) state(c *snapshot.Codec) {
	c.Subject(&o.Subject)
	snapshot.Int(c, &o.Opened, &o.First, &o.Last, &o.Told)
	c.Count(&o.Attempts, snapshot.Many)
	c.Count(&o.Hits, snapshot.Many)
	c.Bool(&o.Spray)
	w := &o.Why
	c.Float64(&w.Score, &w.Threshold, &w.Baseline, &w.WrongTerm, &w.RightTerm, &w.Attempts, &w.Right, &w.Customers)
	snapshot.List(c, &o.Events, maxEvents, func(id *string) { snapshot.String(c, id) })
	snapshot.MapFunc(c, &o.strikes, maxCells, snapshot.CompareSubjects, func(s *detect.Subject, n *int) {
		c.Subject(s)
		c.Count(n, snapshot.Many)
	})
	o.accounts.State(c)
	o.addresses.State(c)
	o.hits.State(c)
	snapshot.Map(c, &o.endpoints, maxEndpoints, func(name *string, attacked *bool) {
		snapshot.String(c, name)
		*attacked = true
	})
	c.Count(&o.serial, snapshot.Many)
}

// state codes the cells by their places, from which the hand of the clock goes
// on, and then those that are forgotten but for their campaign. If there is less
// room than there was, they make room for each other.
func (t *table) state(c *snapshot.Codec, campaigns *Campaigns) *references[cell] {
	c.Count(&t.hand, snapshot.Many)
	r := new(references[cell])
	r.add(t.cells...)
	for _, o := range campaigns.list {
		r.add(o.cells...)
	}
	held, gone := r.list[:len(t.cells)], r.list[len(t.cells):]
	for _, list := range [...]*[]*cell{&held, &gone} {
		snapshot.List(c, list, snapshot.Many, func(p **cell) {
			if c.Reading() {
				*p = new(cell)
			}
			(*p).state(c, campaigns)
		})
	}
	if !c.Reading() {
		return r
	}
	r.add(held...)
	r.add(gone...)
	t.hand %= t.limit
	before := t.evictions
	for _, o := range held {
		if _, twice := t.index[o.key]; twice || o.key == 0 {
			c.Fail("a cell stands twice")
			return r
		}
		t.put(o)
	}
	c.Drop(int(t.evictions - before))
	return r
}

func (o *cell) state(c *snapshot.Codec, campaigns *Campaigns) {
	c.Fixed64(&o.key, &o.accounts, &o.addresses)
	snapshot.Uint(c, &o.kind)
	snapshot.Uint(c, &o.at, &o.acted)
	snapshot.Int(c, &o.since)
	for i := range o.windows {
		c.Float32(&o.windows[i].wrong, &o.windows[i].right)
	}
	c.Float32(&o.attempts, &o.right, &o.known, &o.prepared)
	c.Subject(&o.values)
	campaigns.Ref(c, &o.campaign)
	if o.kind >= kinds {
		c.Fail("a cell of kind %d", o.kind)
		o.kind = 0
	}
}

func (e *Endpoint) state(c *snapshot.Codec, campaigns *Campaigns) {
	e.reference.state(c)
	e.chart.state(c)
	snapshot.Map(c, (*map[uint64]*flow)(&e.flows), maxFlows+1, func(program *uint64, f **flow) {
		if c.Reading() {
			*f = new(flow)
		}
		w := *f
		c.Fixed64(program)
		c.Float64(&w.strangers, &w.right, &w.now.strangers, &w.now.right)
	})
	campaigns.Ref(c, &e.campaign)
	c.Bool(&e.broken)
	snapshot.Uint(c, &e.active)
	snapshot.String(c, &e.name)
}

func (r *reference) state(c *snapshot.Codec) {
	for i := range r.shares {
		c.Float32(&r.shares[i])
	}
	c.Float32(&r.total)
	snapshot.Uint(c, &r.at)
}

func (o *chart) state(c *snapshot.Codec) {
	for _, n := range [...]*int{&o.right, &o.wrong, &o.down, &o.unnamed, &o.windows} {
		c.Count(n, snapshot.Many)
	}
	c.Float64(&o.known.strangers, &o.known.right, &o.lately.strangers, &o.lately.right, &o.usual, &o.beyond, &o.rate, &o.cut)
	for i := range o.sums {
		c.Float64(&o.sums[i], &o.limits[i])
	}
	for i := range o.wander.sums {
		w := &o.wander.sums[i]
		c.Count(&w.windows, snapshot.Many)
		c.Float64(&w.sum, &w.root, &w.beyond, &w.base, &w.batches)
	}
	c.Bool(&o.up)
	snapshot.Uint(c, &o.began)
	snapshot.Map(c, &o.failing, maxFailing, func(account *uint64, f *failure) {
		c.Fixed64(account, &f.address, &f.program)
		snapshot.Int(c, &f.at)
		snapshot.String(c, &f.user)
	})
}

func (r *recent) state(c *snapshot.Codec, places *references[Endpoint]) {
	snapshot.List(c, &r.ring, maxRecent, func(l *login) {
		snapshot.Int(c, &l.time)
		c.Fixed64(&l.account, &l.network, &l.pair, &l.own, &l.program)
		snapshot.String(c, &l.user)
		if places.Ref(c, &l.at); l.at == nil {
			c.Fail("a login was nowhere")
			l.at = new(Endpoint)
		}
		for i := range l.keys {
			c.Fixed64(&l.keys[i])
		}
		c.Bool(&l.known, &l.placed, &l.equipped, &l.prepared, &l.near, &l.stranger, &l.again)
	})
	c.Count(&r.next, maxRecent-1)
}

func (h *history) state(c *snapshot.Codec) {
	snapshot.Uint(c, &h.today)
	h.seen.State(c, func(c *snapshot.Codec, d *days) { snapshot.Uint(c, &d.first, &d.last) })
}

func (s *sprays) state(c *snapshot.Codec) {
	s.tried.State(c, func(c *snapshot.Codec, t *tally) {
		c.Float32(&t.over)
		snapshot.Uint(c, &t.last, &t.count, &t.since)
	})
	snapshot.Uint(c, &s.wrong, &s.term)
	c.Float64(&s.usual, &s.most)
}

func (s *site) state(c *snapshot.Codec) {
	c.Float64(&s.right, &s.known, &s.prepared, &s.logins, &s.called)
	for i := range s.shown {
		c.Float64(&s.shown[i])
	}
	snapshot.Uint(c, &s.at)
}

func (t *touched) state(c *snapshot.Codec, campaigns *Campaigns) {
	snapshot.Uint(c, &t.lost)
	var list []account
	if !c.Reading() {
		for k, a := range t.list {
			list = append(list, account{k.account, a})
		}
		slices.SortFunc(list, func(a, b account) int {
			return cmp.Or(cmp.Compare(a.Campaign.serial, b.Campaign.serial), cmp.Compare(a.number, b.number))
		})
	}
	snapshot.List(c, &list, snapshot.Many, func(a *account) {
		if c.Reading() {
			a.Account = new(Account)
		}
		c.Fixed64(&a.number)
		campaigns.Ref(c, &a.Campaign)
		snapshot.String(c, &a.UserHash)
		c.Bool(&a.Hit)
		snapshot.Int(c, &a.First, &a.Last)
		if a.Campaign == nil {
			c.Fail("an account was touched by no campaign")
		}
	})
	if !c.Reading() {
		return
	}
	for _, a := range list {
		if len(t.list) >= t.limit {
			c.Drop(1)
			continue
		}
		t.list[key{a.Campaign, a.number}] = a.Account
	}
}

// account is one that was touched, with its number.
type account struct {
	number uint64
	*Account
}
