// Package nginxfile enforces verdicts at a stock nginx, without Lua or any other module, by
// files that it includes and a reload. offpath runs on nginx's host.
//
// What it keeps there, in one folder:
//
//   - verdicts.conf, the allow-list and a line per address or network: its verdict and those
//     of the networks around it, the narrowest first, each EXPIRES:FORCE:ACTION:ID with e
//     (enforced) or w (only watched) and block, tag or a rate such as 10per60. It is
//     replaced whole: written aside, tried by `nginx -t` in a configuration of its own, and
//     renamed. Without it nothing is in force;
//   - enforce, monitor, off: empty files, by which being there nginx knows the mode at each
//     request, without a reload. None means off; off is for a person, and wins.
//
// nginx compares expiries with its own clock, by a regular expression that compares two
// numbers of ten digits ($msec and that of the verdict): exact to the second, and a dead
// offpath fails open. So the file needs no sweep; what has ended is left out at its next
// change.
//
// A change is one SIGHUP to the master that the pid file names (which is made sure of), at
// most once per interval: each leaves workers behind, as long as requests are under way or
// connections upgraded (WebSocket). Those end as they began; no connection of before takes
// another request, over HTTP/1 or HTTP/2. For the tenth of a second that a reload takes,
// workers of before and of after answer in turn. An order has been carried out when no
// worker of before accepts connections any more, and one of after says that it has this
// very list: a small server on the loopback interface tells its generation, which is a
// hash of it. If nginx refuses its configuration, for whatever reason, it goes on with the
// one of before, and the order fails. The kill switch needs no reload.
//
// It carries block, tag and the rates that it is told of (see package limitreq). Subjects
// are addresses and networks; a network may lie in others, up to four deep. A User-Agent it
// can't match exactly: NGINX's map compares without regard to case. It counts no hits.
//
// Every method may be called concurrently; memory is that of the list, two or three times.
// There are no goroutines. It needs Linux, for /proc.
package nginxfile
