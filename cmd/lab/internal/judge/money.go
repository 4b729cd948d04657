package judge

import (
	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/reassembly"
)

// money follows what the attacker does with the accounts that were come into: a
// transfer is stopped if a verdict in force matches it, or if its account was to
// be held a second before.
type money struct {
	held      map[string]int64  // by account: since when
	sessions  map[string]string // the attacker's, with their accounts
	transfers int
	stopped   int
}

func newMoney() *money {
	return &money{held: make(map[string]int64), sessions: make(map[string]string)}
}

func (m *money) verdict(v *detect.Verdict) {
	user := v.Subject.UserHash
	switch _, known := m.held[user]; {
	case user == "":
	case v.Action == detect.ActionLift:
		delete(m.held, user)
	case !known:
		m.held[user] = v.Time
	}
}

func (m *money) add(tx *reassembly.Transaction, truth traffic.Truth, stopped bool) {
	for _, token := range tx.Auth.SessionIssued {
		m.sessions[token] = tx.Auth.UserHash
	}
	if !truth.Transfer {
		return
	}
	m.transfers++
	for _, token := range tx.Auth.SessionPresented {
		since, held := m.held[m.sessions[token]]
		stopped = stopped || held && since+latency <= tx.Start
	}
	if stopped {
		m.stopped++
	}
}
