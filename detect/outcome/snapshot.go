package outcome

import "offpath/detect/internal/snapshot"

// State writes the model to a snapshot, or reads it from one.
func (m *Model) State(c *snapshot.Codec) {
	snapshot.Uint(c, &m.serial)
	snapshot.List(c, &m.clusters, MaxClusters, func(k *cluster) { k.state(c) })
	if len(m.clusters) == 0 {
		m.clusters = nil
	}
}

func (k *cluster) state(c *snapshot.Codec) {
	c.Fixed64(&k.key)
	snapshot.Uint(c, &k.serial, &k.count)
	c.Float64(&k.prior.odds)
	snapshot.Uint(c, &k.prior.hint)
	c.Bool(&k.prior.fixed, &k.prior.redirect, &k.prior.back, &k.issues)
	snapshot.Uint(c, &k.usedBearer, &k.usedCookie)
	for i := range k.users {
		c.Fixed64(&k.users[i])
	}
	if int(k.prior.hint) >= Classes {
		c.Fail("a class %d", k.prior.hint)
		k.prior.hint = Unknown
	}
}
