// Package fingerprint makes the fingerprints of client software: of what the
// header fields of one HTTP request show of the program that sent it.
//
// Core (offpath.fingerprint) is what stays the same for a program across requests
// and users, and across a load balancer. Loose is the same without order. Wire is
// the finest: it adds what only the client's own leg shows, and what is accepted.
// They are pure functions, safe for concurrent use, and written down here octet for
// octet, so that a load balancer can compute the core too. A [Cache] remembers them
// for one worker, in a table of fixed size. Nothing here judges whether a program
// is wanted.
//
// # Fields that count
//
// These eleven, if client.ignore_headers does not name them: accept,
// accept-charset, accept-encoding, accept-language, sec-ch-ua, sec-ch-ua-mobile,
// sec-ch-ua-platform, sec-fetch-dest, sec-fetch-mode, sec-fetch-site, user-agent.
//
// Left out is what the request decides and not the program
// (upgrade-insecure-requests, sec-fetch-user, priority, which browsers omit at its
// default, x-requested-with, cache-control, pragma, range, content-*, conditions),
// what the user or the site decides (dnt, sec-gpc, save-data, further sec-ch-*,
// cookie, authorization), what proxies add or drop (via, forwarding and tracing
// fields, connection and every other hop-by-hop field: nginx drops TE, so that
// stands in the wire fingerprint alone), and every name that is not public: a list
// that is open would take in what proxies add.
//
// # The canonical string
//
// Lines, separated by LF (0x0A), none behind the last. Letters are lowered in
// ASCII only. A field that comes more than once counts where it stands first, and
// its values are joined by "," in their order (as Envoy does it). Of what is so joined
// the first 512 octets count. Of a field that is absent or ignored the line is empty.
//
//	core 1
//	the names of the fields that count, lower case, in wire order, joined by ","
//	accept-encoding, lowered, without SP and HTAB
//	accept-charset, likewise
//	accept-language, its habits (below)
//	user-agent, masked (below)
//
// The loose string begins with "loose 1", and has the names in the order of the
// list above. The wire string begins with "wire 1", and has six lines more:
//
//	accept, lowered, without SP and HTAB
//	te, likewise
//	one letter for every name of the second line: l (no upper case), t (each part between
//	  hyphens begins in upper case and goes on in lower), u (no lower case), m (mixed)
//	HTTP version: 0.9, 1.0, 1.1, 2
//	HTTP/2 only: the first letters of the pseudo-header fields in wire order, ";", the
//	  client's first SETTINGS as identifier:value in its order, joined by ",", ";", the
//	  increment of its first WINDOW_UPDATE of stream 0 if that came before its first
//	  request; parts that are not known are empty. Settings 0x?a?a, drawn by lot, are left out
//	JA4 of the connection's ClientHello
//
// The fingerprint is the first 64 bits of the SHA-256 of the string, in 16 lower-case
// hex digits. A request without any of the eleven has one too: that of a bare client.
//
// # Habits of accept-language
//
// Languages and their number are the user's. What is left is how the program
// writes them, as deviations from what browsers write (en-US,en;q=0.9), so that
// one language and five are alike. These letters, in this order, of those that hold:
//
//	l  a hyphen is followed by a lower-case letter (en-us)
//	q  "=" is not followed by "0" (q=1.0, q=.5)
//	s  there is SP or HTAB
//	u  there is "_" (en_US)
//	w  there is "*"
//
// # Masking of user-agent
//
// Three replacements, one after the other, each from left to right over the octets:
//
//	Android[^()]*\)       becomes  Android)  (device, build and language)
//	[0-9A-Fa-f-]{16,}     becomes  #         (identifiers)
//	[0-9][0-9._]*         becomes  #         (versions)
//
// # What was chosen, and what it costs
//
// Accept says what is asked for: one program sends application/json, image/* and
// text/html. In the core it is present or not; its value is in the wire fingerprint.
// A program that copies all of another but Accept has the core of the other.
// The values of sec-ch-* and sec-fetch-* are left out for the same reason; those
// of sec-ch-ua change with every version too. Accept-Encoding counts in full, so a
// browser has another core without TLS (no br) and where it plays media.
// Chromium orders the fields of a navigation otherwise than those of a fetch: a
// program has as many cores as it has orders. That is few, and none of them is
// another program's.
//
// A load balancer that rewrites one of the fields for everybody (a cache that
// normalises accept-encoding) must be named in client.ignore_headers, or each of
// its sides has a core of its own.
//
// testdata/fingerprint-vectors.json holds requests with their strings and fingerprints,
// and the tests let HAProxy compute the cores of all.
package fingerprint
