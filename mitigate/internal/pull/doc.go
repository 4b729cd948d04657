// Package pull is what targets have in common whose consumers fetch lists of addresses
// and networks over HTTP: the list itself, who fetched how much of it, and the server.
//
// A [Board] takes a controller's orders as a [mitigate.Target] does and makes of them the
// list: of the entries that block an address or network, those that are enforced, while
// the mode is enforce, and that do not overlap the allow-list. Each change has a number.
// What was on the list and no longer is stays known as gone, until an hour after the last
// consumer would have dropped it by itself, so that it can be taken back from a consumer
// that was away; a journal keeps that over a restart. Until the first full comparison and
// the mode are known the list is not ready, and nothing is answered but 503.
//
// A [Server] listens and asks for a key. [Consumers] remember what each has fetched,
// within bounds: who asks for the longest time no more is forgotten first.
//
// Everything may be called concurrently. Run has the goroutines of net/http, and none
// else is started. Memory is some 300 octets for each entry, and as much for each gone.
// What a consumer does with what it fetched is not known here.
package pull
