package distinct

import "offpath/detect/internal/snapshot"

// State writes the counter to a snapshot, or reads it from one.
func (c *Counter) State(s *snapshot.Codec) {
	any := c.registers != nil
	if s.Bool(&any); !any {
		return
	}
	if s.Reading() {
		c.registers = new([1 << precision]uint8)
	}
	s.Octets(c.registers[:])
}
