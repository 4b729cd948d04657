// Package cloudflare enforces verdicts at Cloudflare's edge: by a list of addresses in an
// account (Lists API) and a custom rule in each zone (Rulesets API) that refuses whom the
// list has.
//
// What it keeps at Cloudflare, of what [Setup] makes there:
//
//   - items of the list offpath_block, an address or network each; the comment has the
//     verdict's id and its end, "offpath ID until TIME". Items with other comments are
//     the operator's: they are neither changed nor removed, and one that stands where a
//     verdict belongs stays, since it refuses the same clients;
//   - items of the list offpath_allow with the comment "offpath allow": networks that are
//     never acted against. Others there are the operator's, and win as well;
//   - of the rule with ref "offpath": whether it is enabled, its description, which says
//     the mode, and in its expression the second from which on it refuses nobody. All else
//     of it is the operator's. A person who disables a rule that enforces has ordered off
//     at Cloudflare itself, which stands until it is released; only if that falls between
//     offpath's look at the rule and its change, once an hour for the time of a request, it
//     is not noticed. Without the rule nothing is refused. Where the rule of a zone is
//     wrong, verdicts end in all zones, and none begin.
//
// CLOUDFLARE KEEPS NO EXPIRY OF A VERDICT. It ends when offpath takes its item out: while
// no offpath runs, WHAT IS BLOCKED STAYS BLOCKED, until the rule's own end. The rule
// compares the time of a request with a second that each order to enforce puts off, which
// the controller gives every hour, unless the last comparison failed; so [DefaultLease]
// after the last one all enforcement ends by Cloudflare's own clock. Which verdicts there
// are and when they end is in the controller's journal; one that starts, with it or
// without, removes at its first comparison whatever of offpath's is not wanted or has
// ended, and enforces only then what had come to its end. Whoever can't wait for that
// disables the rule by an alarm of their own; what [Setup] prints does so, too.
//
// It carries block, of single IPv4 addresses, of IPv4 networks from /8 and of IPv6 networks
// from /12 to /64: a list holds no single IPv6 address, and a verdict about one is not
// widened to its /64. Rates it does not carry: each of Cloudflare's data centres counts for
// itself, and then refuses for a fixed time. Nor challenges: who has solved one passes,
// which the witness would take for a verdict that is not enforced. A list can't only watch;
// in monitor mode the rule is disabled and nothing is counted. The client is ip.src, whom
// Cloudflare's edge has a connection with. A refusal carries no marker and never comes to
// the origin, so behind the edge the witness sees such a client gone; it counts no hits.
//
// Cloudflare carries out one change of an account's lists at a time, and not at once: a
// change is an operation that is asked about until it has ended. Changes that come
// meanwhile go together, so one target may be the only writer of an account. A later end of
// a verdict is written only shortly before the end that its item tells. When an answer is
// lost, what was ordered may still be carried out later; so before the list is compared, an
// item without meaning (192.0.2.0 in the allow-list) is written, since when that has ended,
// all before it has. Items that Cloudflare refuses together are tried in parts, so that
// a quota that is exhausted keeps out the rest only; that is reported.
//
// Limits of the API: 1,200 requests in 5 minutes of a user, after which it is blocked for 5
// minutes: requests are kept apart, and Retry-After is heeded. 30,000 requests with changes
// in 12 hours: changes are two seconds apart. Off is two requests for each zone, which wait
// for no others and are tried also while all else has to wait.
//
// What was tested on what: a Cloudflare account can't be had here. The API and the edge are
// a stand-in written from Cloudflare's public documentation; the script that [Setup] prints
// is run against it.
//
// Every method may be called concurrently; memory is that of the list.
package cloudflare
