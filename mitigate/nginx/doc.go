// Package nginx enforces verdicts at an nginx with the Lua module (Debian's nginx with
// libnginx-mod-http-lua, or OpenResty), by a script of its own and over a private endpoint
// of that script.
//
// What the script keeps, in shared dictionaries, which outlive a reload:
//
//   - offpath_verdicts_0 to _15, one row per subject: action, second of expiry, rate, id, in
//     a text of fixed length, so that a new row always fits where the old one was. Nothing
//     is ever evicted for another: what has no room is refused, and said so. In which of the
//     sixteen a row lies, clients can't tell; each is listed by itself, so that a full
//     comparison holds none of them for long;
//   - offpath_state: the mode (missing: off), a person's off, the networks that are never
//     acted against, which lengths of networks and which shapes of predicates there are,
//     and the start: an id that is drawn when the dictionaries are made;
//   - offpath_rates and offpath_hits: the requests of each verdict and client address, and
//     what each verdict did.
//
// A request is looked up under its address, its networks (of those lengths that there are),
// and as a predicate (of those shapes that there are): a fingerprint, a User-Agent, a
// literal endpoint or a domain, alone or together with each other, an address or an IPv6
// /64. Fingerprints are computed as package fingerprint of the sensor defines them, from the
// header fields in the order in which they came, over HTTP/1 and HTTP/2. Rates have any
// whole number of seconds; a client's requests of the last period are estimated from those
// of this and the one before, and those that are refused count.
//
// nginx compares expiries with its own clock: rows of a dead controller end by themselves.
// Whatever fails in the script lets requests through and is counted.
//
// Orders are lines of a closed alphabet in HTTP requests with a bearer token, over a unix
// socket, the loopback interface, or TLS. Every answer ends with a line that says so: one
// that is cut short is an error. What an attacker can choose goes as a hash.
//
// It does not configure, start or reload nginx, and tells no templates of endpoints, no
// operations, no JA4 and no sessions. One controller owns the dictionaries of one nginx.
package nginx
