// Package gobgp has routers drop what blocked clients send, by routes that a gobgpd on
// offpath's host (GoBGP 3, not 4, whose API is another) announces to its BGP neighbours.
// It takes orders over its gRPC API. There are two methods, a target each:
//
//   - flowspec: a FlowSpec rule (RFC 8955, 8956) per client and protected destination,
//     with the ports of the operator's choice, and traffic-rate 0: discard;
//   - rtbh: a route to the client itself with the community BLACKHOLE (RFC 7999), NO_EXPORT
//     and a next hop that routers discard. With reverse path checks routers drop what the
//     client sends (RFC 5635); without, only what it is answered. It hits all services.
//
// It carries blocks of an address or network, and nothing else. A rate of FlowSpec is one of
// octets and for all that match: no limit of requests. There is no answer and no marker, and
// nothing is counted. What is only watched is not announced: no route stands for it. What
// overlaps the allow-list is not announced either, and neither is what covers an address of a
// neighbour, without which there is no session.
//
// A route of ours bears three large communities (RFC 8092): the AS of gobgpd, one of the
// functions below, and in turn the upper and the lower half of the verdict's id, and the
// second that it expires. Its path identifier is ours too, so that it replaces no route of
// the operator's to the same place, and no other is ever withdrawn.
//
// # Expiry
//
// BGP knows no expiry, and gobgpd keeps what it was told for as long as it lives, whoever
// told it. While offpath runs it withdraws what has expired; when it starts, all that is not
// wanted. For when it is dead, the life of gobgpd is bound to offpath's: setup/guide.txt has
// the lines for systemd (BindsTo=). Then gobgpd ends with offpath, its sessions close, and
// routers forget all of it (RFC 4271 §6), at the latest after the hold time. So gobgpd has to
// be one of offpath's own; [Target.Prepared] refuses neighbours with graceful restart (RFC
// 4724), or its long-lived kind (RFC 9494), which would keep the blocks. Where the binding
// is not installed, a block of a dead offpath stands until somebody ends gobgpd.
//
// # Mode
//
// The mode is a defined set of gobgpd that no policy uses; without it, it is off: so it is
// after gobgpd's restart, with which all routes are gone too. Only in mode enforce are routes
// announced; the entries are kept here for the others. Off takes the mode away and then
// withdraws all routes in one stream. It can't be shorter: a policy that comes to reject a
// route does not withdraw it (GoBGP 3.10, also by a soft reset), and a session that is
// ended takes the operator's routes with it. A load under way stops for it. A person turns it
// off with a set of another name, [offSet]; that holds until `offpath on`.
//
// Apply returns when gobgpd has the routes and a neighbour that takes their family is
// connected. What the router makes of them it does not say.
package gobgp
