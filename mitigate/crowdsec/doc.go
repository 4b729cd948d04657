// Package crowdsec offers verdicts to CrowdSec's bouncers: a server that speaks as much of
// CrowdSec's Local API as they ask for, so that they work unchanged against it.
//
// It has GET and HEAD of /v1/decisions/stream (what is new and what is to be taken back
// since the bouncer's last pull) and /v1/decisions (what is known of one address), and POST
// of /v1/usage-metrics. A bouncer shows its key in X-Api-Key. What it has been told is
// remembered by key, address, program and filter; each answer tells again what the one
// before told, since an answer may be lost. To one that is not known, or begins, everything
// is told, also what is to be taken back.
//
// It carries blocks of addresses and networks for everything they ask, and nothing else:
// types of decisions beside ban, and scopes beside Ip and Range, are ignored by some
// bouncers and break others. A challenge is none of them: several bouncers answer a
// captcha, which it would be, by a ban. What an entry is told by, and why:
//
//   - durations are whole seconds, since one with a fraction never ends in bouncers for
//     nginx;
//   - one value is never both new and deleted in one answer, whose order bouncers differ
//     in; and none is deleted while a network that covers it is blocked;
//   - what has expired is told as deleted, too, for bouncers without clocks of their own;
//   - some bouncers keep the first end of a ban: one that was renewed is told again when
//     its earlier end has come;
//   - origin is "offpath", since it becomes part of names; the scenario has the verdict's
//     id;
//   - until mode and verdicts are known the answer is 503, and bouncers keep what they have;
//   - in modes other than enforce, everything is taken back.
//
// Nothing tags requests that are only watched, rates are not carried, and no bouncer marks
// its refusals with the verdict's id or counts hits per verdict: what they report in total
// is counted by consumer. When offpath is gone, what they have ends with its duration.
//
// State, goroutines and bounds are those of mitigate/internal/pull.
package crowdsec
