// Package outcome tells how a login ended: was the password right? A 200 may
// be a failure, a redirect either, and a load balancer or an application in
// trouble answers neither.
//
// A [Model] belongs to one endpoint. It sorts the answers into clusters by
// what they look like without their values, begins with stated priors for what
// the status, the redirect, the error code and an issued session mean, and
// learns by an anchor: the cluster whose issued session the client then uses,
// where none would do without, is the success. Below [Confidence] the verdict is
// unknown, which is safer than wrong: unknown outcomes feed no detector.
//
// Statuses whose meaning HTTP fixes (401, 5xx) are not open to learning, so
// that nobody can teach the model that a rejected login is a success. A Model
// holds [MaxClusters] clusters of fixed size; the least seen makes room.
package outcome

import (
	"math"

	"offpath/detect/login"
	"offpath/reassembly"
)

// Class is how a login ended.
type Class uint8

// The classes. Only those from Accepted to MFARequired say anything about the
// password.
const (
	Unknown     Class = iota
	Accepted          // the password was right
	Rejected          // it was wrong
	UnknownUser       // there is no such account
	Locked            // the account is locked
	MFARequired       // the password was right, a second factor is asked for
	Throttled         // too many requests (RFC 6585 section 4): the password was not looked at
	Outage            // the application failed
)

// Classes is the number of classes.
const Classes = int(Outage) + 1

// String is the class as offpath.outcome names it: throttled requests count as
// locked out; "" for Unknown.
func (c Class) String() string {
	return [...]string{"", "accepted", "rejected", "unknown_user", "locked", "mfa_required", "locked", "outage"}[c]
}

// Event is the class as event.outcome: success where the password was right,
// failure where it was not or the account was closed to it, else unknown.
func (c Class) Event() string {
	switch c {
	case Accepted, MFARequired:
		return "success"
	case Rejected, UnknownUser, Locked:
		return "failure"
	}
	return "unknown"
}

const (
	// Confidence is the probability from which on an outcome is told.
	Confidence = 0.9
	// MaxClusters bounds the kinds of answer remembered per endpoint.
	MaxClusters = 32
)

// told is Confidence as log-odds, ln(0.9/0.1).
var told = math.Log(Confidence / (1 - Confidence))

// Model is what has been learned of one endpoint's answers. The zero value is
// ready. It is not for concurrent use.
type Model struct {
	clusters []cluster
	serial   uint32
}

// cluster is one kind of answer.
type cluster struct {
	key    uint64
	serial uint32 // names the cluster for as long as it is remembered
	count  uint32
	prior  prior
	issues bool // a session is issued

	// Clients whose issued session was used afterwards, by what carried it.
	// Each of the last few clients counts once.
	usedBearer, usedCookie uint16
	users                  [4]uint64
}

// Answer is what a Model says about one response.
type Answer struct {
	Class Class
	// LogOdds is of the password having been right.
	LogOdds float64
	// Cluster names the kind of answer, for Used.
	Cluster uint32
	// Learnable reports that a session issued by it is worth following.
	Learnable bool
}

// Judge takes a response into account and tells how the login ended. The
// request's path decides what a redirect means.
func (m *Model) Judge(tx *reassembly.Transaction) Answer {
	switch status := tx.Response.Status; {
	case status >= 500:
		return Answer{Class: Outage}
	case status == 0:
		return Answer{}
	case status == 429:
		return Answer{Class: Throttled}
	}
	c := m.cluster(tx)
	c.count++
	odds := m.odds(c)
	return Answer{
		Class: c.prior.class(odds), LogOdds: odds, Cluster: c.serial,
		Learnable: c.issues && !c.prior.fixed && c.prior.odds > -told,
	}
}

// Used says that a session, issued by an answer of this cluster, has been used
// by the client that got it; bearer tells that it was carried as a bearer
// token.
func (m *Model) Used(serial uint32, client uint64, bearer bool) {
	for i := range m.clusters {
		c := &m.clusters[i]
		if c.serial != serial {
			continue
		}
		for _, user := range c.users {
			if user == client {
				return
			}
		}
		uses := &c.usedCookie
		if bearer {
			uses = &c.usedBearer
		}
		if *uses < math.MaxUint16 {
			c.users[(c.usedBearer+c.usedCookie)%uint16(len(c.users))] = client
			*uses++
		}
		return
	}
}

// Learned is what the model knows that tells a login: that only some answers
// issue a session, and that answers come in more than one shape, each of them
// repeatedly.
func (m *Model) Learned() login.Evidence {
	var issuing, silent bool
	repeated := 0
	for i := range m.clusters {
		c := &m.clusters[i]
		issuing = issuing || c.issues
		silent = silent || !c.issues
		if c.count >= 2 {
			repeated++
		}
	}
	var e login.Evidence
	if issuing && silent {
		e |= login.SelectiveIssue
	}
	if repeated >= 2 {
		e |= login.TwoModes
	}
	return e
}

// odds are the log-odds that an answer of this kind means success: the prior,
// and what has been learned since.
func (m *Model) odds(c *cluster) float64 {
	odds := c.prior.odds
	if c.prior.fixed {
		return odds
	}
	silent, anchored, rejecting := false, false, false
	for i := range m.clusters {
		o := &m.clusters[i]
		if o == c {
			continue
		}
		silent = silent || !o.issues
		rejecting = rejecting || o.count >= 2 && o.prior.odds <= -told
	}
	for i := range m.clusters {
		o := &m.clusters[i]
		if o != c {
			anchored = anchored || o.usedBearer >= 3 || o.usedCookie >= 3 && !c.issues
		}
	}
	// A bearer token is issued on success only. A cookie may be anybody's, and
	// speaks only where other answers set none.
	switch {
	case c.usedBearer >= 3 || silent && c.usedCookie >= 3:
		odds += 3.5
	case c.usedBearer >= 1 || silent && c.usedCookie >= 1:
		odds += 1.5
	}
	// Where the success is known by its session, an answer without one is
	// none, unless it asks for a second factor.
	if anchored && !c.issues && c.prior.hint != MFARequired {
		odds -= 2
	}
	// Where another answer plainly rejects, one that leads on, or issues a
	// session, is not how this endpoint rejects.
	if rejecting && odds > 0 && (c.prior.redirect || c.issues) {
		odds += 1.5
	}
	return odds
}

// cluster finds the cluster of a response or makes it.
func (m *Model) cluster(tx *reassembly.Transaction) *cluster {
	key := clusterKey(tx)
	for i := range m.clusters {
		if m.clusters[i].key == key {
			return &m.clusters[i]
		}
	}
	m.serial++
	made := cluster{key: key, serial: m.serial, prior: priorOf(tx), issues: len(tx.Auth.SessionIssued) > 0}
	if len(m.clusters) < MaxClusters {
		m.clusters = append(m.clusters, made)
		return &m.clusters[len(m.clusters)-1]
	}
	least := &m.clusters[0]
	for i := range m.clusters {
		if c := &m.clusters[i]; c.count < least.count || c.count == least.count && c.serial < least.serial {
			least = c
		}
	}
	*least = made
	return least
}

// clusterKey hashes what a response looks like. The length counts only where
// the body shows no keys and no code to tell it by.
func clusterKey(tx *reassembly.Transaction) uint64 {
	r := &tx.Response
	s := &r.Signature
	h := fnvNumber(fnvOffset, uint64(r.Status))
	h = fnvString(h, s.Media)
	h = fnvString(h, s.Keys)
	h = fnvString(h, s.Location)
	h = fnvString(h, s.Code)
	for _, name := range s.Cookies {
		h = fnvString(h, name)
	}
	if tx.OFX != nil {
		h = fnvString(h, ofxSignOn(tx))
	}
	if len(tx.Auth.SessionIssued) > 0 {
		h = fnvNumber(h, 1)
	}
	if tx.Auth.Carrier == "basic" {
		h = fnvNumber(h, 2)
	}
	if s.Keys == "" && s.Code == "" {
		h = fnvNumber(h, uint64(s.Length))
	}
	return h
}

// FNV-1a, 64 bits (RFC 9923).
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnvString(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime // so that ("ab","c") is not ("a","bc")
}

func fnvNumber(h, n uint64) uint64 {
	for range 8 {
		h = (h ^ n&0xff) * fnvPrime
		n >>= 8
	}
	return h
}
