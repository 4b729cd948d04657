package controller

import (
	"context"
	"time"
)

// clerkInterval is the time between two rounds of the clerk: what a crash of
// the process may lose.
const clerkInterval = 200 * time.Millisecond

// clerk ends expired verdicts and writes journal and audit, in intervals.
func (c *Controller) clerk(ctx context.Context) {
	tick := time.NewTicker(clerkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.expire(now)
			c.write()
		}
	}
}

// expire ends what is over. Targets do so by their own clocks: they get no
// orders.
func (c *Controller) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifted.expire(now.UnixNano())
	for id, w := range c.waiting {
		if w.entry.Expires <= now.Unix() {
			c.stopWaiting(id)
			c.stats.Expired++
			c.record(AuditEntry{Who: whoController, What: "expired", Verdict: w.verdict.ID, Detail: "it was not approved"})
		}
	}
	for {
		it := c.desired.expiry.root()
		if it == nil || it.entry.Expires > now.Unix() {
			return
		}
		c.drop(it)
		c.stats.Expired++
		c.record(AuditEntry{Who: whoController, What: "expired", Verdict: it.verdict.ID})
	}
}

// write brings journal and audit to the disk. A failure is counted, shown in
// Stats, and tried again with the next change.
func (c *Controller) write() error {
	auditErr := c.audit.flush()
	var journalErr error
	if c.journal != nil {
		journalErr = c.journal.flush(c.journalRecords)
	}
	err := journalErr
	if err == nil {
		err = auditErr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.StateError = ""
	if err != nil {
		c.stats.StateLost++
		c.stats.StateError = err.Error()
	}
	return err
}

// close writes for the last time.
func (c *Controller) close() error {
	err := c.write()
	if closeErr := c.audit.close(); err == nil {
		err = closeErr
	}
	if c.journal != nil {
		if closeErr := c.journal.close(); err == nil {
			err = closeErr
		}
	}
	return err
}
