package sequential

import (
	"math"
	"time"
)

// Parameters of the test that are not for configuration.
const (
	// attackFailure is p1, the share of an attacker's logins that fail.
	attackFailure = 0.95
	// power is the chance that the test convicts an attacker.
	power = 0.99
	// halfLife is the time in which scores and counts lose half their weight.
	halfLife = 24 * time.Hour
	// The bounds of p0, the share of honest logins that fail: below the lower
	// one, four failures would decide; above the upper, none ever would.
	minBaseline, maxBaseline = 0.05, 0.6
	// minAccounts is how many accounts must have failed before failures at
	// different accounts convict: a household has fewer.
	minAccounts = 5
	// minTries is how many passwords must have failed at one account before
	// failures at that account alone convict: nobody forgets that thoroughly.
	minTries = 30
	// minWeight is the least that a further wrong password for the same account
	// counts, relative to the first.
	minWeight = 0.1
)

// Threshold is the score that convicts: by Wald's approximation, the logarithm
// of power over the chance of a false alarm.
func Threshold(falseAlarm float64) float64 { return math.Log(power / falseAlarm) }

// failureTerm and successTerm are the log-likelihood ratios of one outcome,
// attacker against honest client. successTerm is negative.
func failureTerm(p0 float64) float64 { return math.Log(attackFailure / p0) }
func successTerm(p0 float64) float64 { return math.Log((1 - attackFailure) / (1 - p0)) }

// tryWeight is what the k-th wrong password for the same account counts,
// relative to the first (k = 1): somebody who tries several passwords for one
// account has more likely forgotten it than somebody who tries several
// accounts.
func tryWeight(k int) float64 { return max(1/float64(k), minWeight) }

// decay is the factor by which what was counted at one second has lost weight
// at another.
func decay(from, to uint32) float64 {
	if to <= from {
		return 1
	}
	return math.Exp2(-float64(to-from) / halfLife.Seconds())
}

// seconds is an event time (ns since the epoch) in whole seconds, bounded to
// what 32 bits hold.
func seconds(t int64) uint32 {
	return uint32(min(max(t/int64(time.Second), 0), math.MaxUint32))
}
