package mitigate

import (
	"context"
	"time"
)

// Publisher is a target that others fetch from, when they see fit. Its Apply and Sync
// return when orders are published: what is fetched from then on has them. Whether a
// verdict is in force is what this interface tells, as well as can be told from here: the
// consumers known have fetched it since. What each does with it is its own affair.
type Publisher interface {
	// Fetching says who fetches, and how far behind they are.
	Fetching() Fetching
	// Unfetched says why an entry that was applied is not in force at every consumer; ""
	// if it is.
	Unfetched(id ID) string
	// Look asks the server that a running offpath has at the address, which may be
	// another process, who fetches. That nobody does is an error; that no offpath runs
	// yet is none.
	Look(ctx context.Context) (string, error)
}

// Fetching is how those are who fetch from a [Publisher].
type Fetching struct {
	Consumers []Consumer    // known, by name
	Forgotten uint64        // left out of account, to make room or for long absence
	Denied    uint64        // requests without the right key
	Behind    int           // entries applied that not every consumer has
	Oldest    time.Duration // how long the oldest change waits for a consumer; 0: none does
}

// Consumer is one who fetches.
type Consumer struct {
	Name     string // of the software and where it is: program@address
	Last     time.Time
	Interval time.Duration // between its requests, as seen lately; 0: not known
	// Late says that it has not asked for several of its intervals.
	Late    bool
	Fetches uint64 // answers that it took whole
	Behind  int    // entries that it does not have, or does not ask for
	Refused uint64 // what it says that it refused by our entries: requests or packets
}

// Current is the number of consumers that are not late.
func (f *Fetching) Current() (n int) {
	for i := range f.Consumers {
		if !f.Consumers[i].Late {
			n++
		}
	}
	return n
}
