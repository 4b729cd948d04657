// Package awswaf enforces verdicts at AWS WAF (WAFv2): in front of Application Load
// Balancers, API Gateways and CloudFront.
//
// It owns one rule group and the IP sets that it refers to, makes what of them is missing,
// and touches nothing else. An operator puts the rule group into web ACLs; there, by the
// override of its actions, a person can end enforcement by hand, which this package
// neither sees nor changes.
//
// AWS KEEPS NO EXPIRY. A verdict ends when offpath takes it out of its set: while no
// offpath runs, WHAT IS BLOCKED STAYS BLOCKED. Which verdicts there are and when they end is
// in the controller's journal, so one that starts again removes at its first comparison
// whatever ended meanwhile. Whoever can't rely on that sets the override to Count by an
// alarm of their own; [Setup] prints the command.
//
// The lists are replaced as a whole, 10,000 networks each, and AWS takes one update a
// second of an account and region. So orders that come meanwhile go together, one target
// may be the only writer there, and only sets that differ are written: each network is in
// the set that its hash names. Each set's lock token is asked for again when somebody
// else wrote it. It takes seconds to minutes until all of AWS judges by an update that it
// has acknowledged.
//
// Networks are taken apart so that each address is in the set of the one verdict that
// applies to it, the most specific enforced one. Modes are the rules of the group,
// replaced in one step, whatever the sets hold.
//
// It carries block, and the rates that it is told of if AWS has them: at least 10
// requests per client address and 60, 120, 300 or 600 s; AWS looks every ten seconds or so. Subjects
// are addresses and networks; the client is the peer of the connection that AWS sees. A
// block may also be of a JA4, a User-Agent and a domain, or of these together: each such
// verdict has a rule of its own, so there are few; clients with a verdict of their own
// are left to that. Fingerprints of offpath, sessions and endpoints AWS can't compute.
//
// What only watches is counted by a rule in CloudWatch; it does not tag. A refusal of a
// client carries the marker of its rule, not of its verdict, since a set knows no verdicts:
// the sensor keeps such requests out of detection, but they do not renew the verdict. It
// counts no hits.
//
// Tested against moto's server and a stand-in that has the limits which moto lacks; not on
// AWS. Every method may be called concurrently; memory is that of the entries.
package awswaf
