package engine

import (
	"container/heap"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"offpath/detect"
	"offpath/detect/campaign"
	"offpath/detect/internal/generations"
	"offpath/detect/login"
	"offpath/detect/plain"
	"offpath/reassembly"
)

// RollBackRule is the name behind the finding that a verdict hits customers.
const RollBackRule = detect.RuleRollBack

const (
	// minRefused and refusedShare are how many of the accounts that are refused by a
	// verdict must be customers', and what part of all, for it to be taken back. Whoever
	// wants that done to a verdict needs so many accounts of their own, with logins from
	// there on another day.
	minRefused   = 5
	refusedShare = 0.2
	// suspect is how long after its first line a predicate is suspected at most where
	// customers are missing until then, ns.
	suspect = 3 * campaign.Window
	// spared is how long the subject of a verdict that was taken back is left alone at
	// least, ns.
	spared = 3600e9
)

// sketch counts different accounts in 256 bits, by linear counting, up to some 1,500.
type sketch [4]uint64

func (s *sketch) add(n uint64) {
	h := generations.Mix(11, n)
	s[h>>6&3] |= 1 << (h & 63)
}

func (s *sketch) count() float64 {
	free := 256
	for _, w := range s {
		free -= bits.OnesCount64(w)
	}
	return 256 * math.Log(256/max(float64(free), 0.5))
}

// refusedLogins are the accounts whose logins a verdict has refused, and those of them
// that are customers'.
type refusedLogins struct{ accounts, customers sketch }

// lookAtRefused takes back a verdict that refuses customers. It learns nothing else of a
// refused request, whose outcome is not known.
func (e *Engine) lookAtRefused(a *active, tx *reassembly.Transaction) {
	account := number(tx.Auth.UserHash)
	client := tx.Client.Unmap().WithZone("")
	if account == 0 || a.unwritten() || a.tookBack || tx.Annotation.Role != login.RoleLogin || !client.IsValid() || containsAddr(e.cfg.TrustedProxies, client) {
		return
	}
	a.refused.accounts.add(account)
	if !e.campaigns.Customer(account, client) {
		return
	}
	a.refused.customers.add(account)
	all, customers := a.refused.accounts.count(), a.refused.customers.count()
	if math.Round(customers) < minRefused || customers < refusedShare*all {
		return
	}
	e.rollBack(a, detect.Evidence{Statistic: round(customers/all, 3), Threshold: refusedShare, Events: []string{tx.ID},
		Terms: []detect.Term{{Name: "accounts refused", Value: math.Round(all)}, {Name: "customers among them", Value: math.Round(customers)}},
	}, fmt.Sprintf("of some %.0f accounts whose logins it refused some %.0f had logged in from there on an earlier day", all, customers))
}

// missing takes back the predicates that were put in force when customers went missing.
func (e *Engine) missing(o *campaign.Outage) {
	for _, a := range e.verdicts.inOrder() {
		s := &a.verdict.Subject
		if a.unwritten() || a.tookBack || s.Client.IsValid() || s.UserHash != "" || s.Endpoint != "" && s.Endpoint != o.Name ||
			e.mode(a.policy) != detect.ModeEnforce || a.verdict.Action == detect.ActionTag || o.Until-a.begun > suspect {
			continue
		}
		e.rollBack(a, detect.Evidence{Statistic: o.Right, Baseline: round(o.Usual, 2), Threshold: round(o.Least, 2)},
			fmt.Sprintf("since it is in force only %.0f logins were right within %s at %s, where about %.0f usually are, and few fail", o.Right, plain.Span(campaign.Window), plain.Printable(o.Name), o.Usual))
	}
}

// rollBack takes back a verdict that hits customers: it ends, and its subject is left
// alone for a while, however much speaks against it. An operator's own, or one by an
// operator's own policy, stands; it is only said.
func (e *Engine) rollBack(a *active, evidence detect.Evidence, why string) {
	a.tookBack = true
	e.stats.RolledBack++
	v := &a.verdict
	does := "It is taken back"
	switch {
	case a.foreign:
		does = "It is an operator's, and stands"
	case a.entity != nil:
		does = "It is by an operator's own policy, and stands"
	}
	e.sink.Finding(&detect.Finding{
		Time: e.clock, ID: detect.NewID(RollBackRule+v.ID, v.Subject, e.clock), Kind: "alert", Rule: RollBackRule, Severity: 70,
		Subject: v.Subject, WindowStart: min(v.Time, e.clock), WindowEnd: e.clock, Evidence: evidence,
		Message: fmt.Sprintf("Verdict %s about %s keeps customers out: %s. %s.", v.ID, e.subject(v.Subject), why, does),
	})
	if !a.detectors() {
		return
	}
	line := *v
	line.Action, line.Rate, line.Time, line.Expires = detect.ActionLift, detect.Rate{}, max(v.Time, e.clock), e.clock
	line.Mode, line.Findings = e.mode(a.policy), slices.Clone(line.Findings)
	line.Message = "Lifted: it kept customers out; " + why + "."
	e.sink.Verdict(&line)
	e.witness.Remove(v.ID)
	a.dear = true
	v.Expires = max(v.Expires, e.clock+max(a.lifetime, spared))
	heap.Fix(&e.verdicts.expiries, a.place)
}
