// Package haproxy enforces verdicts at an HAProxy, 2.6 or later, over its
// Runtime API (unix or TCP socket, or the master's).
//
// What it keeps at the load balancer, all under the prefix offpath:
//
//   - the stick table offpath_verdicts, one row per exact subject: gpt0 is the
//     action, gpc0 the second of expiry, gpc1 the limit of a rate, conn_cnt
//     and sess_cnt the halves of the verdict's id (2.6 can set only scalars
//     from its command line). The table belongs to a peers section, so that
//     its rows outlive a reload. The row "mode" holds the mode; without it
//     nothing is enforced. The row "off" is for a person at the load balancer:
//     while it is there nothing is enforced either. Subjects that are more than an
//     address (a program's fingerprint, a User-Agent, an endpoint, a domain, or several
//     of them) have rows too, under a hash of all their members, and so have sessions,
//     under the keyed hash of their token; the row "shapes" says which combinations
//     there are. HAProxy finds them with offpath.lua, which is asked only while there
//     are any;
//   - the map networks.map, one line per network with the same in its value,
//     and with that of a wider network which the narrower would hide. Adding to a
//     map never replaces, so it is written anew as a whole (prepare, add, commit)
//     and kept small;
//   - the map allow-live.map, networks that are never acted against, beside
//     allow.map, which is the operator's own and never written;
//   - the tables offpath_rate_1s, _10s and _60s, the rates per verdict and
//     client address;
//   - the table offpath_hits, what was refused and let through per verdict.
//
// [Setup] prints the rules that read them. HAProxy compares expiries with its
// own clock: rows of a dead controller end by themselves.
//
// Commands go in batches, each on a connection of its own: a connection kept
// open would stay with the old process after a reload. A batch stays below
// half of HAProxy's buffer: 2.6 crashes on a payload that fills it. Every word
// that is sent is checked against a closed set of characters first; what an
// attacker can choose (paths) goes as a hash.
//
// The script runs on what attackers send, in the load balancer's own threads: its patterns
// are linear, and a test holds what the worst requests cost.
//
// Lua computes fingerprints as package fingerprint of the sensor defines them, and names
// an endpoint as package endpoint does, so that another way to write the same path is no
// way around a verdict. Endpoints with a template or an operation it can't tell.
//
// What deceives is the site's own answer, with the marker; the sensor takes whatever has
// the marker for refused, so a deception teaches detection nothing.
//
// By way of a master each command is a connection of its own to the worker, inside
// HAProxy, and answers have no level: they are known by their form.
//
// It does not configure, start or reload HAProxy. What an old process still serves after a
// reload, it serves by the verdicts of then. One controller owns the tables of one HAProxy: rows it does
// not want are removed at a full comparison.
package haproxy
