package engine

// sieve counts the members of a set by a few bits of their number: what it has
// not is not in the set. Almost every request presents a session that nothing
// waits for, and a look here touches one octet.
type sieve [1 << 16]uint8

func (s *sieve) slot(key uint64) *uint8 { return &s[uint16(key>>48^key)] }

func (s *sieve) has(key uint64) bool { return *s.slot(key) != 0 }

// A counter that is full stays so.
func (s *sieve) add(key uint64) {
	if n := s.slot(key); *n < 255 {
		*n++
	}
}

func (s *sieve) remove(key uint64) {
	if n := s.slot(key); *n < 255 {
		*n--
	}
}
