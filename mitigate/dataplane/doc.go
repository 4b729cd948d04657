// Package dataplane enforces verdicts at an HAProxy, 2.6 or later, of which only the Data
// Plane API can be reached, versions 2 and 3 (paths /v2 and /v3).
//
// What it keeps at the load balancer, in maps whose files the API has in its folder:
//
//   - offpath-verdicts, one line per exact subject, code:expiry:limit:id, under the keys
//     that package haproxy has for its rows; the line "shapes" says which combinations of
//     members predicates have, for offpath.lua;
//   - offpath-networks, the same per network. None lies in another: HAProxy heeds the
//     narrowest alone, also when it is over;
//   - offpath-allow-live, networks that are never acted against, beside offpath-allow,
//     which is the operator's own and never written;
//   - offpath-mode: the line "mode", without which nothing is enforced, and the line "off",
//     which is for a person at the load balancer.
//
// [Setup] prints the rules that read them, with what package haproxy's do once they know
// what applies. HAProxy compares expiries with its own clock: lines of a dead controller
// end by themselves.
//
// A few changes are written line by line, at a pace; many, and every change of networks and
// of the allow-list, by one order that makes the map anew in one step. The API has no such
// order for short maps: by what is shorter than one command to HAProxy it appends. So lines
// that say nothing make up the length (pad.go). What was written so is read back.
//
// HAProxy loses at a reload what is not in the files, and finds again what is still there.
// The API lets them follow every ten seconds, if it is told to; here each change that is
// answered is in them.
//
// Stick tables are not used for verdicts: the API sets one field at a time. To change or
// delete one line of a long map takes HAProxy 2.6 to 2.8 milliseconds, so capacity is small
// beside package haproxy's. A 404 of the API is no proof that something is not there, since
// it answers so, too, when it can't reach HAProxy: absence is looked at in the list.
//
// What was tested on what: the rules by requests to a real HAProxy, the orders by a
// stand-in for the API in front of it, written from the API's own specification and source;
// not on the API itself.
//
// Every method may be called concurrently; memory is that of one map as listed.
package dataplane
