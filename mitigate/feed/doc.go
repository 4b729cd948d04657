// Package feed offers verdicts as lists that firewalls and load balancers fetch: a server
// with the addresses and networks that are blocked, one a line, in the forms of
//
//   - /plain: networks, a single address as one too (192.0.2.1/32);
//   - /edl: the same, single addresses without a length, as external dynamic lists have
//     them;
//   - /f5: `address,length,BL,category`, a feed list of F5's IP Intelligence; the query
//     names a category other than offpath.
//
// Each takes, as a query, family=4 or 6, and lines=N, what the consumer has room for: the
// newest N; page=K goes on behind. An answer is the list at one instant, always whole; of
// several pages each is of its own. It has an ETag of its content, and Last-Modified if
// that is a second old, and is 304 to who has it. Whoever asks has the key: as a bearer
// token, as the password of any user, or in X-Api-Key.
//
// It carries blocks of addresses and networks for everything they ask, and nothing else;
// nothing tags what is only watched, no refusal carries a verdict's id, and nothing is
// counted but pulls. A list has no expiry: what has ended is missing in the next pull, so
// that a consumer that can reach offpath no more, or to which it says 503 because verdicts
// are not known yet, keeps what it has as long as it pleases. In modes other than enforce
// the list is empty.
//
// State, goroutines and bounds are those of mitigate/internal/pull.
package feed
