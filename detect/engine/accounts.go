package engine

import "offpath/detect"

// Accounts lists the accounts that campaigns touched, by campaign, oldest
// first, and by name; nothing unless [Config.Accounts] asks for it. lost is how
// many attempts there were at others, for which there was no room.
func (e *Engine) Accounts() (list []detect.Account, lost uint64) {
	for _, a := range e.campaigns.Accounts() {
		list = append(list, detect.Account{Campaign: campaignID(a.Campaign), UserHash: a.UserHash, Hit: a.Hit, First: a.First, Last: a.Last})
	}
	return list, e.campaigns.Stats().AccountsLost
}
