package judge

import (
	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
)

// counts are numbers of requests.
type counts struct{ requests, logins, stoppedRequests, stoppedLogins int }

func (c *counts) add(login, stopped bool) {
	c.requests++
	if stopped {
		c.stoppedRequests++
	}
	if login {
		c.logins++
		if stopped {
			c.stoppedLogins++
		}
	}
}

// tally counts what passes.
type tally struct {
	onset       int64
	all         int
	first, last int64
	honest      counts // from the onset on; stopped ones at any time
	attack      counts
	outcomes    outcomes
	perSecond   []int // the attacker's logins by second since the onset

	tried   map[place]int            // logins by endpoint
	settled [traffic.Styles]outcomes // after the first ones of an endpoint
}

// outcomes is how many logins were told right from wrong.
type outcomes struct {
	logins  int
	told    int // with an outcome other than unknown
	rightly int // of them: as it was
}

// acquaintance is how many logins an endpoint may take to be understood.
const acquaintance = 200

func newTally(onset int64) tally { return tally{onset: onset, tried: make(map[place]int)} }

func (t *tally) add(tx *reassembly.Transaction, truth traffic.Truth, stopped bool) {
	if t.all == 0 {
		t.first = tx.Start
	}
	t.all++
	t.last = tx.End
	switch {
	case truth.Attack:
		t.attack.add(truth.Login, stopped)
		if truth.Login {
			second := max(int((tx.Start-t.onset)/1e9), 0)
			for len(t.perSecond) <= second {
				t.perSecond = append(t.perSecond, 0)
			}
			t.perSecond[second]++
		}
	case tx.Start >= t.onset || stopped:
		t.honest.add(truth.Login, stopped)
	}
	if truth.Login && !truth.Down && tx.RefusedBy == "" {
		t.outcomes.add(tx, truth)
		at := placeOf(tx)
		if t.tried[at]++; t.tried[at] > acquaintance {
			t.settled[truth.Style].add(tx, truth)
		}
	}
}

func (o *outcomes) add(tx *reassembly.Transaction, truth traffic.Truth) {
	o.logins++
	switch tx.Annotation.EventOutcome {
	case "success", "failure":
		o.told++
		if (tx.Annotation.EventOutcome == "success") == truth.Right {
			o.rightly++
		}
	}
}

// attackLogins is how many logins the attacker tried between two times.
func (t *tally) attackLogins(from, to int64) int {
	n := 0
	begin := max(int((from-t.onset)/1e9), 0)
	for i := begin; i < len(t.perSecond) && t.onset+int64(i)*1e9 < to; i++ {
		n += t.perSecond[i]
	}
	return n
}
