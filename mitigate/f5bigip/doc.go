// Package f5bigip enforces verdicts at an F5 BIG-IP (LTM) by an iRule that looks requests
// up in internal data groups, which it changes over iControl REST.
//
// What it keeps at the load balancer, in one partition:
//
//   - the data groups offpath_addresses and offpath_networks (type ip), a record per
//     verdict: FORCE:ACTION:EXPIRES:ID with e (enforced) or w (only watched), block, tag or
//     a rate such as 10per60, the second of expiry, and the verdict's id. The iRule
//     compares the expiry with the BIG-IP's own clock;
//   - offpath_allow (type ip), networks that are never acted against, beside
//     offpath_allow_own, which is the operator's and never written;
//   - offpath_mode (type string): the record "mode", without which nothing is enforced;
//     and offpath_off, which is for a person: with any record in it, all is off. It is
//     written only to release that;
//   - offpath_life (type string): the number of the last change, below.
//
// [Setup] prints these and the iRule. It carries block, tag and any rate of whole seconds:
// N requests in a window that begins with the first, counted in the BIG-IP's session table,
// which all its TMMs share. Subjects are addresses and networks. No two records that could
// both match stand in one data group: of two networks that overlap the enforced one stays,
// else the wider one, and the other is rejected, saying so. It counts no hits.
//
// A PATCH of a data group's records replaces all of them, so a change of verdicts is one
// transaction with the whole of each group that differs: all or nothing, and its size is
// that of the groups. What changes while one runs goes with the next. The mode is one short
// PATCH outside of it.
//
// BIG-IP keeps a running and a saved configuration. The mode and the allow-list are saved
// as they change, with whatever else of the running configuration is unsaved: iControl REST
// saves all or nothing. Verdicts are not: a reboot, `load sys config` or a
// synchronisation from another unit brings back older ones. Every change of verdicts
// has a new number in offpath_life, so that Identity sees an older one there and all is
// compared. If no offpath runs then, a verdict that had been lifted after
// the last save acts again until its own expiry.
//
// A pair or cluster: with automatic synchronisation of the device group one target for
// all, at any unit's address, does; without, each unit is a target of its own. offpath runs
// no config-sync itself: that would carry along what the operator has not finished.
//
// The login is a token (20 minutes by default, and few per user), asked for anew
// before its end and when the BIG-IP no longer knows it. A password that was refused is
// not tried again for [loginPause], since BIG-IP may lock the user.
//
// What was tested on what: a BIG-IP can't be had here. The API is a stand-in written from
// F5's public documentation; the iRule as printed runs in Tcl with stand-ins for F5's
// commands, reduced to what Tcl 8.4, on which iRules are based, has.
//
// Every method may be called concurrently; memory is that of the data groups.
package f5bigip
