package campaign

import (
	"math"
	"math/bits"

	"offpath/detect/internal/generations"
)

const (
	// sprayPeriod is how long tries of a password are counted together, s.
	sprayPeriod = 6 * 3600
	// minSprayed is how many accounts a password must have been wrong for.
	minSprayed = 24
	// popular is how many times as many as the most popular wrong password of an
	// earlier period.
	popular = 3
	// maxPasswords is how many wrong passwords are remembered.
	maxPasswords = 1 << 17
)

// sprays counts for how many accounts each password is wrong: one password
// tried at very many accounts is an attack of its own (as in DALock), which
// counts per account or per client don't show.
type sprays struct {
	tried  *generations.Map[tally]
	period uint32
	most   float64 // of the present period, of any password that is no attack's
	usual  float64 // the same of earlier periods, fading
}

// tally is a count of different accounts by linear counting over 64 bits, in a
// period.
type tally struct {
	seen   uint64
	period uint32
}

// count is how many accounts there are, about; at 64 it is full.
func (t tally) count() float64 {
	free := 64 - bits.OnesCount64(t.seen)
	return 64 * math.Log(64/max(float64(free), 0.5))
}

func newSprays() *sprays { return &sprays{tried: generations.New[tally](maxPasswords)} }

// wrong records a wrong password, and reports whether it is sprayed.
func (s *sprays) wrong(password, account uint64, now uint32) bool {
	if password == 0 || account == 0 {
		return false
	}
	if period := now / sprayPeriod; period != s.period {
		s.usual = max(s.most, s.usual/2)
		s.most, s.period = 0, period
	}
	t, _ := s.tried.Get(password)
	if t.period != s.period {
		t = tally{period: s.period}
	}
	t.seen |= 1 << (generations.Mix(account, password) & 63)
	s.tried.Put(password, t)
	n := t.count()
	if n >= max(minSprayed, popular*s.usual) {
		return true
	}
	s.most = max(s.most, n)
	return false
}

// sprayed reports whether a password is being sprayed.
func (s *sprays) sprayed(password uint64) bool {
	t, ok := s.tried.Get(password)
	return ok && t.period == s.period && t.count() >= max(minSprayed, popular*s.usual)
}

// why is for how many accounts a password was wrong, for how many one that is
// merely popular was, and from how many on it counts as sprayed.
func (s *sprays) why(password uint64) Why {
	t, _ := s.tried.Get(password)
	return Why{Score: t.count(), Baseline: s.usual, Threshold: max(minSprayed, popular*s.usual)}
}
