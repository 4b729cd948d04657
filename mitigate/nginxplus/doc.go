// Package nginxplus enforces verdicts at an NGINX Plus over its REST API, version 9
// (R30 or later), whose key-value zones requests are looked up in.
//
// What it keeps at the load balancer, all under the prefix offpath:
//
//   - the zones offpath_addresses and offpath_networks, a record per verdict:
//     FORCE:ACTION:EXPIRES:ID with e (enforced) or w (only watched), block, tag or a rate
//     such as 10per60, the second of expiry, and the verdict's id. Each is written with
//     its remaining time (the API's expire), so that NGINX drops it by its own clock;
//   - the zone offpath_allow, networks that are never acted against, beside a file that
//     is the operator's own and never written;
//   - the zone offpath_mode: the key "mode", without which nothing is enforced, and the
//     key "off", which is for a person at the load balancer. These two zones have state
//     files, so that off outlives a restart; verdicts don't, and are put back.
//
// [Setup] prints the maps that read them. It carries block, tag, and the rates that it is
// told of, each of which is a limit_req zone of the configuration: N requests at once,
// then N evenly over each period, rounded down to NGINX's whole requests per minute or
// second. Since that is a leaky bucket, up to 2N-1 pass in the first period. Subjects are addresses
// and networks. Which of two records that both match wins is documented for no kind of
// zone, so records of offpath_networks never overlap: of two that would, the enforced one
// stays, else the wider one, and the other is rejected, saying so. It counts no hits.
//
// With zone_sync NGINX passes on what is written and not what is deleted. So a verdict
// that ends early is overwritten by a record that says nothing and ends after a second.
// The allow-list and the mode are each node's own: each node is a target of its own.
//
// What was tested on what: every request and answer is held against the vendor's own
// description of the API, by a stand-in, since NGINX Plus can't be had here; the printed
// rules are judged by requests to an open-source NGINX, in which the key-value lines
// alone are replaced by a file and a reload.
//
// Every method may be called concurrently; memory is that of one zone as listed.
package nginxplus
