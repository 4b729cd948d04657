package pipeline

// Charged is how many octets the budgets of all shards are charged.
func (p *Pipeline) Charged() (octets int) {
	for _, w := range p.workers {
		for _, s := range w.shards {
			if s != nil {
				octets += s.budget.Used()
			}
		}
	}
	return octets
}
