// Package envoy enforces verdicts at Envoys, which connect to a server of this package and
// are told by xDS (extension configuration discovery) what three of their HTTP filters do.
//
//   - offpath_verdicts, Envoy's RBAC filter, only looks (shadow_matcher): a trie of
//     networks leaves the rows of the client's address in the request's metadata. It is made
//     on Envoy's main thread and shared by its workers, whose requests wait for nothing.
//   - offpath_script, a Lua filter, compares expiries with Envoy's own clock, so that
//     verdicts of a dead controller end by themselves; matches predicates (an address, a
//     fingerprint, a User-Agent, a literal endpoint or a domain, together); refuses, marks and
//     tags. The mode is in it: the kill switch is one short order, whatever the list. A
//     filter that was not discovered does nothing: a missing mode means off.
//   - offpath_rates, Envoy's local rate limit, counts by rate, period and client address,
//     in each Envoy for itself: N requests pass in each period of the clock. Counts begin
//     anew when there is a rate that there was not, and a client's when 65,536 others came
//     after it.
//
// An order is carried out when every connected Envoy has acknowledged it, which its main
// thread does; its workers follow a moment later. What an Envoy refuses is an error with its
// words, and it goes on with what it had. Where none is connected, nothing is in force, and
// every order says so. The whole list goes out at each change, one at a time: what changes
// meanwhile goes with the next. Hits come as access log lines of those requests alone.
//
// The server listens on a unix socket, on loopback with a token, or with TLS and a client
// certificate or token. Nobody is told anything before the controller has said what there
// is to be. At most 64 Envoys are; of one more every order says that it is too many.
//
// gRPC's own xDS servers enforce nothing of this: they don't discover extension
// configurations, and of RBAC they know no matchers, of the other filters nothing. Who asks
// here for listeners, as they do, is answered that there is no such service, not that there
// is no such listener: it keeps those that it has, and counts as no Envoy.
//
// It tells no templates of endpoints, no operations, no JA4, no sessions, no networks
// together with a predicate, and no client that a proxy names with a port. A request with
// two User-Agents has, for Envoy, one with a comma. It configures, starts and reloads no
// Envoy. One controller owns a target.
package envoy
