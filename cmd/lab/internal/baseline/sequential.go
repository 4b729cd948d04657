package baseline

import (
	"math"
	"net/netip"
	"time"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// Of the sequential test: what an attacker's failures are, and the chances of
// error that it stops at. What honest ones are is learned from the first logins.
const (
	attackersFail = 0.95
	falseAlarm    = 1e-6
	missed        = 0.01
	learned       = 1000
	banned        = time.Hour
)

// Sequential is a sequential test of failures and successes per address.
type Sequential struct {
	decisions
	scores          map[netip.Addr]float64
	logins, failed  float64
	onFail, onRight float64 // 0 until it is learned
}

// NewSequential makes a Sequential.
func NewSequential(sink engine.Sink) *Sequential {
	return &Sequential{decisions: newDecisions(sink, "sequential test"), scores: make(map[netip.Addr]float64)}
}

// Observe implements judge.Detector.
func (s *Sequential) Observe(tx *reassembly.Transaction, truth traffic.Truth) {
	if !truth.Login || tx.RefusedBy != "" || tx.Response.Status >= 500 {
		return
	}
	fails := failure(tx, truth)
	if s.logins < learned {
		s.logins++
		if fails {
			s.failed++
		}
		if s.logins == learned {
			honest := min(max(s.failed/s.logins, 0.01), 0.9)
			s.onFail, s.onRight = math.Log(attackersFail/honest), math.Log((1-attackersFail)/(1-honest))
		}
		return
	}
	score := s.scores[tx.Client] + s.onRight
	if fails {
		score = s.scores[tx.Client] + s.onFail
	}
	s.scores[tx.Client] = max(score, 0)
	if score >= math.Log((1-missed)/falseAlarm) {
		s.scores[tx.Client] = 0
		s.decide(tx, address(tx), detect.ActionBlock, banned)
	}
}
