package tcp

// Budget is the octets that the flows of one shard may hold together: segments
// out of order, and what a consumer keeps of unfinished messages.
type Budget struct{ limit, used int }

// NewBudget returns a Budget of limit octets.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// Take reserves n octets, or says that there are not as many.
func (b *Budget) Take(n int) bool {
	if n > b.limit-b.used {
		return false
	}
	b.used += n
	return true
}

// Give returns n octets taken before.
func (b *Budget) Give(n int) { b.used -= n }

// Used is how many octets are taken.
func (b *Budget) Used() int { return b.used }
