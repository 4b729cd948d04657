package campaign

import (
	"cmp"
	"slices"
	"strings"
)

// Account is one that a campaign touched.
type Account struct {
	Campaign    *Campaign
	UserHash    string
	Hit         bool  // its password was right
	First, Last int64 // attempts, ns since the epoch
}

// touched is the accounts of all campaigns, if they are asked for; bounded.
type touched struct {
	limit int // 0: not asked for
	list  map[key]*Account
	lost  uint64 // attempts at accounts for which there was no room
}

type key struct {
	campaign *Campaign
	account  uint64
}

func (t *touched) add(c *Campaign, account uint64, user string, at int64, hit bool) {
	if t.limit == 0 || user == "" {
		return
	}
	k := key{c, account}
	a := t.list[k]
	if a == nil {
		if len(t.list) >= t.limit {
			t.lost++
			return
		}
		a = &Account{Campaign: c, UserHash: strings.Clone(user), First: at, Last: at}
		t.list[k] = a
	}
	a.First, a.Last, a.Hit = min(a.First, at), max(a.Last, at), a.Hit || hit
}

// Accounts lists the accounts that campaigns touched, by campaign, oldest
// first, and by name. What was tried before a campaign was recognised is not
// in it, the accounts hit aside.
func (d *Detector) Accounts() []Account {
	list := make([]Account, 0, len(d.touched.list))
	for _, a := range d.touched.list {
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b Account) int {
		return cmp.Or(cmp.Compare(a.Campaign.serial, b.Campaign.serial), cmp.Compare(a.UserHash, b.UserHash))
	})
	return list
}
