package campaign

import "offpath/detect/internal/generations"

const (
	// minSprayed is for how many accounts a password must have been wrong beyond
	// those that its popularity explains.
	minSprayed = 20
	// popular is how many times as many as the most popular wrong password is
	// usually wrong for popularity explains.
	popular = 3
	// leastPopular and mostPopular bound the share of wrong attempts that the most
	// popular wrong password is held to have; the upper bound is what is expected
	// before there is a history. Of leaked passwords the most popular has less than
	// one in a hundred.
	leastPopular, mostPopular = 0.001, 0.01
	// stretch is how many wrong attempts a password's share is taken of.
	stretch = 4096
	// maxPasswords is how many wrong passwords are remembered.
	maxPasswords = 1 << 17
)

// sprays counts for how many accounts each password is wrong, as a share of all
// that is wrong: one password tried at very many accounts is an attack of its
// own (as in DALock), which counts per account or per client don't show. A large
// bank's customers, too, mistake one password for theirs thousands of times a
// day; no larger share of them than a small one's.
//
// What is popular is learned from passwords that are not held to be sprayed, and
// an attacker can make it no more than is held possible at first.
type sprays struct {
	tried *generations.Map[tally]
	wrong uint32  // attempts so far, modulo 2^32
	usual float64 // share of the most popular wrong password
	most  float64 // the same in the present term
	term  uint32  // wrong attempts in it
}

// tally is for how many accounts a password was wrong: beyond what popularity
// explains, as a CUSUM that begins anew whenever nothing is left of it, and since
// a wrong attempt.
type tally struct {
	over         float32
	last         uint32 // wrong attempt with this password
	count, since uint32
}

func newSprays() *sprays {
	return &sprays{tried: generations.New[tally](maxPasswords), usual: mostPopular}
}

// explained is how many of the wrong attempts popularity may explain.
func (s *sprays) explained(attempts uint32) float64 { return popular * s.usual * float64(attempts) }

// left is what is left of a tally's sum now.
func (s *sprays) left(t *tally) float64 {
	return max(0, float64(t.over)-s.explained(s.wrong-t.last))
}

// failed records a wrong password that was not tried at the account before, and
// reports whether it is sprayed.
func (s *sprays) failed(password, account uint64) bool {
	if password == 0 || account == 0 {
		return false
	}
	s.wrong++
	if s.term++; s.term >= 2*stretch {
		s.usual = min(max(s.most, s.usual/2, leastPopular), mostPopular)
		s.most, s.term = 0, 0
	}
	t, known := s.tried.At(password)
	if !known {
		*t = tally{over: 1, last: s.wrong, count: 1, since: s.wrong}
		return false
	}
	t.over, t.last = float32(min(s.left(t)+1, 2*minSprayed)), s.wrong
	t.count++
	sprayed := t.over >= minSprayed
	if since := s.wrong - t.since; since >= stretch {
		if !sprayed {
			s.most = max(s.most, float64(t.count)/float64(since+1))
		}
		t.count /= 2
		t.since += since / 2
	}
	return sprayed
}

// sprayed reports whether a password is being sprayed.
func (s *sprays) sprayed(password uint64) bool {
	t := s.tried.Find(password)
	return t != nil && s.left(t) >= minSprayed
}

// why is for how many accounts a password was wrong lately, how many of these
// popularity may explain, and from how many more on it counts as sprayed.
func (s *sprays) why(password uint64) Why {
	t, _ := s.tried.Get(password)
	return Why{Score: float64(t.count), Baseline: s.explained(s.wrong - t.since + 1), Threshold: minSprayed}
}
