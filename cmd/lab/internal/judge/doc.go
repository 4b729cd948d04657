// Package judge compares what a detector says about labelled traffic with the
// truth.
//
// Requests are judged in batches shorter than the time that a verdict takes to
// come into force (1 s after its decision): whether a request matches a verdict
// is thus decided as the load balancers would have decided it, with expiries,
// renewals and lifts taken at their event time. A rate limit stops what is above
// it, per client address, in fixed periods. What a
// detector takes of a processor is measured apart from that, by Cost.
//
// Without Case.Enforced every request is seen as if nothing were enforced, and a
// match only counts; with it, what matches is refused, which the detector sees.
//
// A finding is about the attack if its subject matches a login of the attacker's
// within its window, or if it names one as evidence. A verdict is effective if it
// alone matches a hundredth of the attacker's logins of the minute after it came
// into force. An account is named by a verdict that asks for it to be held, or by
// a finding that gives the login as evidence. Shares of legitimate requests are of
// those since the onset.
//
// Memory grows with the logins (64 octets each) where there is an attack,
// and with the number of verdicts. A judge is used once, by one goroutine.
package judge
