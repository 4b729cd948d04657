// Package netscaler enforces verdicts at a NetScaler (Citrix ADC) by responder and rewrite
// policies that look clients up in a string map, which it changes over NITRO.
//
// What it keeps at the load balancer:
//
//   - the string map offpath_verdicts: ADDRESS or NETWORK/BITS to FORCE:ACTION:EXPIRES:ID with
//     e (enforced) or w (only watched), block or tag, the second of expiry, and the verdict's
//     id. The policies compare the expiry with the NetScaler's own clock;
//   - the data sets offpath_allow4 and offpath_allow6, networks that are never acted against,
//     beside offpath_allow_own4 and offpath_allow_own6, which are the operator's and never
//     written;
//   - the string map offpath_mode: the key "mode", without which nothing is enforced; and
//     offpath_off, which is for a person: with the key "off" all is off. It is written only to
//     release that;
//   - the string map offpath_life: the number of the last change, by which Identity sees that
//     the NetScaler came back with an older configuration.
//
// [Setup] prints these and the policies. It carries block and tag, of addresses, of IPv4
// networks of 16 bits and of 24 to 31, and of IPv6 networks of 48, 56 and 64: each length is
// some looks at each request. The narrowest that is enforced applies; one that only watches
// hides none. It carries no rates, and counts no hits. A client is the peer of the connection.
//
// A change is orders of up to 500 bindings each, not all of them at once: each is right by
// itself, and after an error all is compared. A verdict that is lifted has its value
// overwritten, many by one order; Sweep then unbinds such keys, and expired ones, at most 500
// at a time. If there come to be more of them than there may be verdicts, changes unbind them.
//
// NetScaler has a running and a saved configuration. The mode and the allow-list are saved
// as they change, with whatever else of the running configuration is unsaved. Verdicts are
// not: a reboot brings back older ones, until all is compared. If no offpath runs then, a
// verdict that had been lifted after the last save acts again until its own expiry.
//
// The login is a session that ends after 15 minutes without an order, and is asked for anew
// when the NetScaler no longer knows it. A password that was refused is not tried again for
// [loginPause].
//
// What was tested on what: a NetScaler can't be had here. NITRO is a stand-in written from
// the public reference, and so is what evaluates the policies as they are printed. That a
// NetScaler writes addresses as RFC 5952 does, and that what a responder answers passes no
// rewrite policy, is as that reference has it or is not told there: were it otherwise, a
// verdict would not match or a refusal would carry no marker.
//
// Every method may be called concurrently; memory is that of the verdicts.
package netscaler
