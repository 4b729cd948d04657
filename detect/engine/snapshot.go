package engine

import (
	"errors"
	"io"
	"slices"
	"strings"

	"offpath/detect/campaign"
	"offpath/detect/internal/snapshot"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
)

// Why a snapshot can't be resumed from.
var (
	ErrVersion = snapshot.ErrVersion                  // written by a program with another format
	ErrDamaged = snapshot.ErrDamaged                  // damaged, or no snapshot
	ErrKey     = errors.New("made under another key") // accounts, passwords and sessions have other names now
)

// Snapshot gathers all that the engine knows, to be written by WriteTo, once, by
// any goroutine: the engine goes on. Until then it takes as much memory again as
// what it knows. The books ([Stats]) are not in it, nor what [Config] holds, the map
// aside: the databases of networks, the policies.
//
// An engine that resumes from it ([Resume]) goes on as this one does: with the
// same decisions, to the octet.
func (e *Engine) Snapshot(of Origin) io.WriterTo {
	c := snapshot.Writer()
	e.header(c, &of)
	e.state(c)
	e.seen(c)
	return c
}

// Origin is what a snapshot says of itself.
type Origin struct {
	Key   string // names the key of the hashes, without telling it
	Input string // how far the input was read, in the words of whoever feeds the engine
}

// Resumed says what an engine was resumed from.
type Resumed struct {
	Input   string // as in Origin
	Time    int64  // event time up to which it knows everything, ns since the epoch
	Dropped uint64 // entries that were forgotten, since the limits of cfg are lower than they were
}

// Resume makes an Engine that goes on from a snapshot. It writes nothing: what
// became of its verdicts since then is said by Ended and Restore, and what allow-list,
// mode and policies change that are others than they were by Settle, which must
// follow. The error is ErrVersion, ErrKey or ErrDamaged, or a mistake in cfg.
func Resume(cfg Config, sink Sink, r io.Reader, key string) (*Engine, Resumed, error) {
	e, err := New(cfg, sink)
	if err != nil {
		return nil, Resumed{}, err
	}
	c, err := snapshot.Reader(r)
	if err != nil {
		return nil, Resumed{}, err
	}
	var of Origin
	if e.header(c, &of); c.Err() == nil && of.Key != key {
		return nil, Resumed{}, ErrKey
	}
	e.changed = e.state(c)
	seen := e.seen(c)
	if err := c.Close(); err != nil {
		return nil, Resumed{}, err
	}
	if cfg.Map != nil && seen != nil {
		*cfg.Map = *seen
	}
	e.places.fit(c)
	resumed := Resumed{Input: of.Input, Time: e.clock, Dropped: c.Dropped()}
	return e, resumed, nil
}

// Settle brings the verdicts of a snapshot to what the configuration says now: first
// to the allow-list, so that nothing is written against it. Nothing is written of
// what has run out by a time (ns since the epoch) either: the clock of the snapshot
// stands where it was taken.
func (e *Engine) Settle(now int64) {
	for _, a := range e.verdicts.inOrder() {
		if a.verdict.Expires <= now {
			e.drop(a)
			e.ended(a, a.verdict.Expires)
		}
	}
	e.SetAllow(e.cfg.Allow)
	for _, a := range e.verdicts.inOrder() {
		switch {
		case a.foreign:
		case a.entity != nil && e.changed[a.entity.policy]:
			e.lift(a, "was what its policy was about before")
		default:
			e.reorder(a)
		}
	}
	e.changed = nil
	e.SetMode(e.cfg.Mode)
}

func (e *Engine) header(c *snapshot.Codec, of *Origin) {
	snapshot.String(c, &of.Key, &of.Input)
	snapshot.Int(c, &e.clock)
}

// state codes everything: endpoints first, to which the others point. Of what is
// read it returns the operator's own policies that are about something else now.
func (e *Engine) state(c *snapshot.Codec) (changed map[string]bool) {
	e.places.state(c)
	e.sessions.state(c, e.places)
	e.sequential.State(c)
	endpoints := make([]*campaign.Endpoint, len(e.places.list))
	for i, p := range e.places.list {
		endpoints[i] = &p.campaign
	}
	var held []*campaign.Campaign
	for _, a := range e.verdicts.byID {
		if a.campaign != nil {
			held = append(held, a.campaign)
		}
	}
	campaigns := e.campaigns.State(c, endpoints, held)
	changed = e.own.state(c)
	e.verdicts.state(c, e, campaigns)
	snapshot.List(c, &e.hits, maxHits, func(h *hit) { h.state(c) })
	e.witness.State(c)
	e.legs.State(c)
	return changed
}

// seen codes the map, if there is one; what is read is another than that of cfg, which
// damage must not reach.
func (e *Engine) seen(c *snapshot.Codec) *sitemap.Map {
	m := e.cfg.Map
	there := m != nil
	if c.Bool(&there); !there {
		return nil
	}
	if c.Reading() {
		m = m.Empty()
	}
	m.State(c)
	return m
}

// state codes what was counted for the operator's own policies.
func (o *own) state(c *snapshot.Codec) (changed map[string]bool) {
	c.Section("policies")
	var list []*policy.Policy
	if o != nil {
		list = slices.Clone(o.policies)
	}
	crowds := newCrowds() // what is read for policies that are none any more is thrown away
	if o != nil && o.crowds != nil {
		crowds = o.crowds
	}
	crowds.state(c)
	changed = make(map[string]bool)
	snapshot.List(c, &list, policy.MaxOwn, func(p **policy.Policy) {
		if !c.Reading() {
			(*p).MatterState(c)
			o.table((*p).Name).State(c)
			return
		}
		*p = new(policy.Policy)
		(*p).MatterState(c)
		table := policy.NewTable(*p, maxPolicyEntities)
		table.State(c)
		changed[(*p).Name] = true
		if o == nil || c.Err() != nil {
			return
		}
		for i, now := range o.policies {
			if now.Name == (*p).Name && now.SameMatter(*p) && o.tables[i].Distinct() == table.Distinct() {
				o.tables[i] = table
				changed[now.Name] = false
			}
		}
	})
	return changed
}

func (p *places) state(c *snapshot.Codec) {
	p.learner.State(c)
	c.Section("endpoints")
	snapshot.List(c, &p.list, snapshot.Many, func(at **place) {
		if c.Reading() {
			*at = new(place)
		}
		(*at).state(c)
	})
	c.Count(&p.hand, snapshot.Many)
	if !c.Reading() {
		return
	}
	for i, at := range p.list {
		if p.byName[at.name] != nil {
			c.Fail("an endpoint stands twice")
			return
		}
		at.index, p.byName[at.name] = i, at
	}
}

// fit forgets what there is no room for.
func (p *places) fit(c *snapshot.Codec) {
	for len(p.list) > p.limit {
		i := p.victim()
		delete(p.byName, p.list[i].name)
		last := len(p.list) - 1
		p.list[i], p.list[last].index = p.list[last], i
		p.list[last] = nil
		p.list = p.list[:last]
		p.evictions++
		c.Drop(1)
	}
	p.hand %= max(len(p.list), 1)
}

func (p *place) state(c *snapshot.Codec) {
	snapshot.String(c, &p.name)
	snapshot.Uint(c, &p.kind)
	snapshot.Uint(c, &p.learned, &p.shown)
	snapshot.Uint(c, &p.rank, &p.pinned)
	snapshot.Int(c, &p.last)
	snapshot.Uint(c, &p.logins)
	c.Bool(&p.closed)
	p.model.State(c)
	p.stratum.State(c)
	served := p.policed != nil
	if c.Bool(&served); !served {
		return
	}
	if c.Reading() {
		p.policed = new(policed)
	}
	snapshot.Uint(c, &p.policed.requests, &p.policed.calls, &p.policed.pages, &p.policed.data)
}

func (s *sessions) state(c *snapshot.Codec, p *places) {
	c.Section("sessions")
	c.Count(&s.next, maxIssued-1)
	forgotten := new(place) // stands for all that are
	snapshot.List(c, &s.ring, maxIssued, func(key *uint64) {
		c.Fixed64(key)
		i := s.byToken[*key]
		waits := i.by != nil
		if c.Bool(&waits); waits {
			i.state(c, p, forgotten)
		}
		if !c.Reading() {
			return
		}
		if _, twice := s.byToken[*key]; twice {
			c.Fail("a session stands twice")
			return
		}
		if s.byToken[*key] = i; waits {
			s.waiting.add(*key)
		}
	})
}

func (i *issued) state(c *snapshot.Codec, p *places, forgotten *place) {
	at := -1
	if by := i.by.now(); by != nil && by.index < len(p.list) && p.list[by.index] == by {
		at = by.index
	}
	if c.Index(&at, len(p.list)); c.Reading() {
		if i.by = forgotten; at >= 0 {
			i.by = p.list[at]
		}
	}
	snapshot.Uint(c, &i.cluster)
	c.Addr(&i.client)
	c.Bool(&i.token)
}

// state codes the verdicts by their ids.
func (v *verdicts) state(c *snapshot.Codec, e *Engine, campaigns *campaign.Campaigns) {
	c.Section("verdicts")
	if c.Reading() {
		v.read(c, e, campaigns)
		return
	}
	list := make([]active, 0, len(v.byID)) // there may be many
	for _, a := range v.byID {
		list = append(list, *a)
	}
	c.Later(func(c *snapshot.Codec) {
		slices.SortFunc(list, func(a, b active) int { return strings.Compare(a.verdict.ID, b.verdict.ID) })
		snapshot.List(c, &list, snapshot.Many, func(a *active) { a.state(c, e, campaigns) })
	})
}

func (v *verdicts) read(c *snapshot.Codec, e *Engine, campaigns *campaign.Campaigns) {
	var list []*active
	snapshot.List(c, &list, snapshot.Many, func(p **active) {
		*p = new(active)
		if (*p).state(c, e, campaigns); v.byID[(*p).verdict.ID] != nil {
			c.Fail("a verdict stands twice")
		}
		if c.Err() == nil {
			v.add(*p)
		}
	})
}

func (a *active) state(c *snapshot.Codec, e *Engine, campaigns *campaign.Campaigns) {
	c.Verdict(&a.verdict)
	c.Finding(&a.finding)
	snapshot.Int(c, &a.lifetime, &a.begun, &a.proved, &a.marked, &a.written)
	snapshot.Uint(c, &a.since)
	campaigns.Ref(c, &a.campaign)
	name := ""
	if a.policy != nil {
		name = a.policy.Name
	}
	snapshot.String(c, &name)
	c.Bool(&a.silent, &a.noted, &a.dear, &a.foreign, &a.shows, &a.tookBack)
	for i := range a.refused.accounts {
		c.Fixed64(&a.refused.accounts[i])
		c.Fixed64(&a.refused.customers[i])
	}
	own := a.entity != nil
	if c.Bool(&own); own {
		if c.Reading() {
			a.entity = new(entity)
		}
		snapshot.String(c, &a.entity.policy)
		a.entity.key.State(c)
	}
	if c.Reading() && name != "" {
		a.policy = e.policies.Get(name)
	}
}
