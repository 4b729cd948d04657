package nftables

// Watchful makes a target look at what somebody else did without waiting, for tests.
func (t *Target) Watchful() *Target {
	t.every = 0
	return t
}
